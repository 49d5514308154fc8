"""Owners of gateways and applications, claim accounts, and votes of reporters on them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii.application import epochs
from dii.application.actions import DenyGateway, SetScope
from dii.application.messages import (
    AssignGateway,
    Claim,
    Propose,
    RegisterApplications,
    RegisterGateways,
    Transfer,
    Vote,
)
from dii.application.records import (
    APPLICATIONS,
    CURSORS,
    DENIED,
    FORWARDS,
    GATEWAYS,
    LAPSES,
    NAMINGS,
    Binding,
)
from dii.crypto import SigningKey, claim_address
from dii.errors import AlreadyClaimed, BadMessage, FeeUncovered, NotTheOwner, UnknownGateway
from dii.genesis import TREASURY
from dii.units import SECOND
from tests.application import (
    CLAIMS,
    FOUR,
    FULL,
    OPERATORS,
    ROWS,
    WINDOW,
    amounts,
    epoch_end,
    says,
    several,
)
from tests.chains import (
    ALICE,
    BOB,
    CAROL,
    EPOCH,
    OPENING,
    REPORTER,
    REPORTERS,
    START,
    THIEF,
    VALIDATOR,
    Chain,
    gateway,
    report,
    scope,
    stream,
)

# --- owners --------------------------------------------------------------------------------------


def test_gateways_pay_their_owners_and_those_without_pay_the_treasury():
    chain = Chain(scopes=[scope(), scope("other")])
    chain.register((1, ALICE.address), (2, BOB.address))
    chain.register((3, ALICE.address), scope="other")
    chain.settle(0, ROWS)
    assert amounts(chain, 0) == {
        1: (ALICE.address, 250), 2: (BOB.address, 250), 3: (TREASURY, 250), 4: (TREASURY, 250),
    }  # fmt: skip


def test_a_binding_made_before_settling_counts_for_the_epoch_and_one_made_later_for_the_next():
    chain = Chain(limits={"settle_rows": 1})
    chain.do(REPORTER, *report(0, ROWS), time=epoch_end(0) - 10 * SECOND)
    chain.register((1, ALICE.address))
    chain.time = epoch_end(0)
    chain.register((2, BOB.address))
    chain.do(REPORTER, *report(0, ROWS))
    assert chain.app.state.get(CURSORS, "main") is not None
    chain.register((3, CAROL.address))
    while chain.block().changed:
        pass
    assert [amounts(chain, 0)[n][0] for n in (1, 2, 3)] == [ALICE.address, BOB.address, TREASURY]
    chain.settle(1, ROWS)
    assert amounts(chain, 1)[3][0] == CAROL.address


def test_a_gateway_handed_on_pays_its_new_owner_from_the_next_epoch():
    chain = Chain()
    chain.register((1, ALICE.address))
    assert chain.do(ALICE, AssignGateway("main", gateway(1), BOB.address))[0].code == 0
    for epoch, owner in ((0, ALICE), (1, BOB), (2, BOB)):
        chain.settle(epoch, ROWS)
        assert amounts(chain, epoch)[1][0] == owner.address
    assert (
        chain.do(ALICE, AssignGateway("main", gateway(1), ALICE.address))[0].code
        == NotTheOwner.code
    )
    assert chain.do(BOB, AssignGateway("main", gateway(1), CAROL.address))[0].code == 0
    chain.settle(3, ROWS)
    assert amounts(chain, 3)[1][0] == BOB.address
    chain.settle(4, ROWS)
    assert amounts(chain, 4)[1][0] == CAROL.address


def test_a_new_owner_can_hand_a_gateway_on_in_the_same_epoch():
    chain = Chain()
    chain.register((1, ALICE.address))
    chain.do(ALICE, AssignGateway("main", gateway(1), BOB.address))
    chain.do(BOB, AssignGateway("main", gateway(1), CAROL.address))
    for epoch, owner in ((0, ALICE), (1, CAROL)):
        chain.settle(epoch, ROWS)
        assert amounts(chain, epoch)[1][0] == owner.address


def test_a_gateway_that_changes_hands_often_takes_no_more_room():
    chain = Chain()
    chain.register((1, ALICE.address))
    for epoch in range(6):
        for _ in range(3):
            for old, new in ((ALICE, BOB), (BOB, ALICE)):
                assert chain.do(old, AssignGateway("main", gateway(1), new.address))[0].code == 0
        assert len(chain.app.state.get(GATEWAYS, "main", gateway(1)).owners) <= 3
        chain.settle(epoch, ROWS)
        assert amounts(chain, epoch)[1][0] == ALICE.address


def test_epochs_that_wait_for_their_report_pay_the_owners_of_their_time():
    chain = Chain()
    chain.register((1, ALICE.address))
    for epoch, (old, new) in enumerate([(ALICE, BOB), (BOB, CAROL), (CAROL, ALICE)]):
        chain.block(time=epoch_end(epoch) - 60 * SECOND)
        assert chain.do(old, AssignGateway("main", gateway(1), new.address))[0].code == 0
    for epoch, owner in enumerate([ALICE, BOB, CAROL, ALICE]):
        chain.settle(epoch, ROWS)
        assert amounts(chain, epoch)[1][0] == owner.address
    assert len(chain.app.state.get(GATEWAYS, "main", gateway(1)).owners) <= 4


def test_thieves_get_no_gateway():
    chain = Chain()
    chain.register((1, ALICE.address), (2, CLAIMS[0]))
    for number in (1, 2, 3):
        (result,) = chain.do(THIEF, AssignGateway("main", gateway(number), THIEF.address))
        assert result.code == (UnknownGateway if number == 3 else NotTheOwner).code


@pytest.mark.parametrize("kind", [RegisterGateways, RegisterApplications])
def test_a_bad_binding_is_refused_alone_and_the_result_says_so(kind):
    chain = Chain()
    message = kind("main", tuple((gateway(number), ALICE.address) for number in (2, 0, 3, 0)))
    result = chain.block(chain.sign(REPORTER, message))
    (one,) = result.results
    what = "gateway" if kind is RegisterGateways else "application"
    assert (one.code, one.detail) == (0, f"2 refused: the zero hash is not the hash of any {what}")
    assert result.rows["transactions"][0][-1] == one.detail
    table = GATEWAYS if kind is RegisterGateways else APPLICATIONS
    bound = {key for (_, key), _ in chain.app.state.items(table)}
    assert bound == {gateway(2), gateway(3)}
    (one,) = chain.do(REPORTER, kind("main", ((gateway(0), ALICE.address),)))
    assert one.code == BadMessage.code


SCOPED = st.one_of(
    st.tuples(
        st.just("register"), st.sampled_from(["main", "other"]),
        st.lists(st.tuples(st.integers(0, 3), st.sampled_from([ALICE, BOB, None])), min_size=1),
    ),
    st.tuples(st.just("assign"), st.sampled_from(["main", "other"]), st.integers(1, 3)),
    st.tuples(st.just("deny"), st.sampled_from(["main", "other"]), st.integers(1, 3)),
    st.tuples(st.just("claim"), st.sampled_from(["main", "other"]), st.integers(0, 1)),
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(SCOPED, max_size=8))
def test_a_scope_earns_the_same_whatever_is_said_of_another(said):
    """Run each scope's messages with the other's and alone; owners and receipts are equal."""

    def outcome(*scopes: str) -> dict[str, object]:
        streams = [stream(), stream("more", scope="other")]
        reporting = [scope(), scope("other", reporters=[THIEF])]
        chain = Chain(gas_price=0, scopes=reporting, streams=streams)
        speaker = {"main": REPORTER, "other": THIEF}
        proposals = 0
        for kind, name, what in said:
            if name not in scopes:
                continue
            if kind == "register":
                claimed = claim_address(name, OPERATORS[0])
                pairs = tuple(
                    (gateway(number), owner.address if owner else claimed) for number, owner in what
                )
                chain.do(speaker[name], RegisterGateways(name, pairs))
            elif kind == "claim":
                chain.do(speaker[name], Claim(name, OPERATORS[what], CAROL.public_key))
            elif kind == "deny":
                action = DenyGateway(name, gateway(what), bytes(32), 9)
                chain.do(VALIDATOR, Propose(action), Vote(proposals, approve=True))
                proposals += 1
            else:
                for key in (ALICE, BOB):
                    chain.do(key, AssignGateway(name, gateway(what), CAROL.address))
        rows = {gateway(number): [FULL] for number in (1, 2, 3)}
        for epoch in (0, 1):
            for name in scopes:
                chain.time = max(chain.time, epoch_end(epoch))
                results = chain.do(speaker[name], *report(epoch, rows, scope=name))
                assert not any(one.code for one in results)
            while chain.block().changed:
                pass
        state = chain.app.state
        return {
            name: (
                [*state.items(GATEWAYS, name)],
                [*state.items(DENIED, name)],
                {key: leaves for key, leaves in chain.receipts.items() if key[0] == of},
            )
            for name, of in (("main", "main"), ("other", "more"))
            if name in scopes
        }  # fmt: skip

    assert outcome("main", "other") == outcome("main") | outcome("other")


def test_a_gateway_is_bound_in_each_scope_by_itself():
    streams = [stream(), stream("more", scope="other")]
    chain = Chain(gas_price=0, scopes=[scope(), scope("other")], streams=streams)
    chain.register((1, ALICE.address))
    chain.register((1, BOB.address), scope="other")
    assert chain.do(BOB, AssignGateway("main", gateway(1), BOB.address))[0].code == NotTheOwner.code
    assert chain.do(BOB, AssignGateway("other", gateway(1), CAROL.address))[0].code == 0
    assert chain.do(BOB, AssignGateway("moon", gateway(1), BOB.address))[0].code == (
        UnknownGateway.code
    )
    bindings = {name: bound for (name, _), bound in chain.app.state.items(GATEWAYS)}
    assert bindings == {
        "main": Binding(0, ((0, ALICE.address),)),
        "other": Binding(0, ((0, BOB.address), (1, CAROL.address))),
    }


def test_a_claim_account_collects_until_its_key_is_named_and_forwards_from_then_on():
    chain = Chain()
    chain.register((1, CLAIMS[0]), (2, ALICE.address))
    chain.settle(0, ROWS)
    chain.do(ALICE, Transfer(CLAIMS[0], 50))
    assert chain.balance(CLAIMS[0]) == 300
    before = chain.balance(BOB)
    assert chain.do(REPORTER, Claim("main", OPERATORS[0], BOB.public_key))[0].code == 0
    assert chain.balance(CLAIMS[0]) == 0
    assert chain.balance(BOB) == before + 300
    chain.do(ALICE, Transfer(CLAIMS[0], 7))
    chain.settle(1, ROWS)
    assert amounts(chain, 1)[1] == (BOB.address, 250)
    assert chain.balance(BOB) == before + 300 + 7 + 250
    assert chain.balance(CLAIMS[0]) == 0
    assert chain.do(BOB, AssignGateway("main", gateway(1), CAROL.address))[0].code == 0
    again = Claim("main", OPERATORS[0], THIEF.public_key)
    assert chain.do(REPORTER, again)[0].code == AlreadyClaimed.code
    assert chain.app.state.get(FORWARDS, CLAIMS[0]) == BOB.address


def test_a_claim_before_any_money_came_forwards_too():
    chain = Chain()
    chain.do(REPORTER, Claim("main", OPERATORS[0], BOB.public_key))
    chain.register((1, CLAIMS[0]))
    chain.settle(0, {gateway(1): [FULL]})
    assert chain.balance(BOB) == OPENING + 1_000


# --- several reporters ---------------------------------------------------------------------------


def owner_of(chain: Chain, number: int) -> bytes | None:
    binding = chain.app.state.get(GATEWAYS, "main", gateway(number))
    return binding.owner((chain.time - START) // EPOCH) if binding else None


def bind(number: int, owner: SigningKey) -> RegisterGateways:
    return RegisterGateways("main", ((gateway(number), owner.address),))


@pytest.mark.parametrize(("count", "first"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3)])
def test_a_first_binding_takes_one_more_reporter_than_may_lie(count, first):
    chain = several(count)
    for number, who in enumerate(REPORTERS[:count], 1):
        assert says(chain, who, bind(1, ALICE)) == [0]
        assert owner_of(chain, 1) == (ALICE.address if number >= first else None)
    assert not list(chain.app.state.items(NAMINGS))


def test_a_reporter_that_says_it_twice_or_changes_its_mind_has_one_voice():
    chain = several()
    for owner in (ALICE, ALICE, BOB, ALICE):
        says(chain, REPORTERS[0], bind(1, owner))
    assert owner_of(chain, 1) is None
    says(chain, REPORTERS[1], bind(1, BOB))
    assert owner_of(chain, 1) is None
    says(chain, REPORTERS[2], bind(1, ALICE))
    assert owner_of(chain, 1) == ALICE.address


def test_an_application_is_bound_as_a_gateway_is():
    chain = several()
    message = RegisterApplications("main", ((gateway(1), ALICE.address),))
    for who in REPORTERS[:2]:
        assert chain.app.state.get(APPLICATIONS, "main", gateway(1)) is None
        assert says(chain, who, message) == [0]
    bound = chain.app.state.get(APPLICATIONS, "main", gateway(1))
    assert bound == Binding(0, ((0, ALICE.address),))
    assert chain.app.state.get(GATEWAYS, "main", gateway(1)) is None


def test_a_gateway_is_bound_anew_by_two_thirds_and_after_a_delay():
    chain = several(governance={"delay_seconds": EPOCH // SECOND + 1})
    for who in REPORTERS[:2]:
        says(chain, who, bind(1, ALICE))
    for who in REPORTERS[:3]:
        assert says(chain, who, bind(1, BOB)) == [0]
    owners = chain.app.state.get(GATEWAYS, "main", gateway(1)).owners
    assert owners == ((0, ALICE.address), (2, BOB.address))
    # Until then it is hers to hand on, and the owner to whom she does is bound by it, too.
    assert (
        chain.do(BOB, AssignGateway("main", gateway(1), CAROL.address))[0].code == NotTheOwner.code
    )
    assert chain.do(ALICE, AssignGateway("main", gateway(1), CAROL.address))[0].code == 0
    for epoch, owner in enumerate((ALICE, CAROL, BOB)):
        chain.block(time=START + epoch * EPOCH)
        assert owner_of(chain, 1) == owner.address


def test_no_quorum_short_of_two_thirds_takes_a_gateway_from_its_owner():
    chain = several()
    for who in REPORTERS[:4]:
        says(chain, who, bind(1, ALICE))
    for who in REPORTERS[:2]:
        says(chain, who, bind(1, THIEF))
    chain.block(time=epoch_end(5))
    assert owner_of(chain, 1) == ALICE.address


def test_reporters_who_think_again_in_time_undo_a_binding_that_has_not_come_into_effect():
    chain = several()
    for owner in (ALICE, THIEF, ALICE):
        for who in REPORTERS[:3]:
            says(chain, who, bind(1, owner))
    assert chain.app.state.get(GATEWAYS, "main", gateway(1)).owners == ((0, ALICE.address),)


def test_bindings_made_and_never_finished_lapse_and_leave_nothing():
    chain = several(limits={"max_bindings": 64})
    root = chain.app.info()[1]
    for start in range(1, 64, 8):
        pairs = tuple((gateway(number), THIEF.address) for number in range(start, start + 8))
        assert says(chain, REPORTERS[0], RegisterGateways("main", pairs)) == [0]
    assert chain.do(REPORTERS[0], bind(70, THIEF))[0].code == FeeUncovered.code
    says(chain, REPORTERS[1], bind(99, BOB))
    assert len(list(chain.app.state.items(NAMINGS))) == 65
    chain.block(time=chain.time + WINDOW)
    while chain.block().changed:
        pass
    for table in (NAMINGS, LAPSES):
        assert not list(chain.app.state.items(table))
    says(chain, REPORTERS[1], bind(1, THIEF))
    assert owner_of(chain, 1) is None, "what has lapsed counts no more"
    assert chain.app.info()[1] != root


def test_a_block_drops_as_many_hashes_however_they_were_named():
    chain = several(limits={"max_bindings": 9_000, "block_gas": 2**32})
    many = tuple((gateway(number), THIEF.address) for number in range(1, 5_001))
    single = [RegisterGateways("main", (pair,)) for pair in many[:1_000]]
    great = [RegisterGateways("main", many[at : at + 1_000]) for at in range(0, 5_000, 1_000)]
    for said in (single, great):
        assert {result.code for result in chain.do(REPORTERS[0], *said)} == {0}
    chain.block(time=chain.time + WINDOW)
    assert len(list(chain.app.state.items(LAPSES))) == 1, "1,000 and four times 1,000 are gone"
    chain.block()
    assert not list(chain.app.state.items(LAPSES)) + list(chain.app.state.items(NAMINGS))
    assert not chain.block().changed


@pytest.mark.parametrize(("after", "counts"), [(WINDOW - 1, True), (WINDOW, False)])
def test_a_naming_counts_until_its_window_is_over(after, counts):
    chain = several()
    says(chain, REPORTERS[0], bind(1, ALICE))
    begin = chain.time
    for _ in range(2):
        chain.block(time=begin + after - 2 * SECOND)
    chain.time = begin + after - SECOND
    says(chain, REPORTERS[1], bind(1, ALICE))
    assert chain.time == begin + after
    assert (owner_of(chain, 1) == ALICE.address) == counts


def test_a_naming_that_is_repeated_lapses_a_window_after_the_last_time():
    chain = several()
    for _ in range(2):
        says(chain, REPORTERS[0], bind(1, ALICE))
        chain.block(time=chain.time + WINDOW // 2)
    chain.block(time=chain.time + WINDOW // 4)
    says(chain, REPORTERS[1], bind(1, ALICE))
    assert owner_of(chain, 1) == ALICE.address


def test_a_thief_with_one_bribed_reporter_claims_nothing():
    chain = several()
    for who in REPORTERS[:2]:
        says(chain, who, RegisterGateways("main", ((gateway(1), CLAIMS[0]),)))
    chain.do(ALICE, Transfer(CLAIMS[0], 500))
    theft = Claim("main", OPERATORS[0], THIEF.public_key)
    for _ in range(3):
        assert says(chain, REPORTERS[3], theft) == [0]
    assert chain.app.state.get(FORWARDS, CLAIMS[0]) is None
    for who in REPORTERS[:2]:
        assert says(chain, who, Claim("main", OPERATORS[0], BOB.public_key)) == [0]
    assert chain.app.state.get(FORWARDS, CLAIMS[0]) == BOB.address
    assert chain.balance(BOB) == OPENING + 500
    assert says(chain, REPORTERS[3], theft) == [AlreadyClaimed.code]
    assert says(chain, REPORTERS[2], Claim("main", OPERATORS[0], BOB.public_key)) == [0]


def test_reporters_of_another_scope_open_no_claim_account_of_this():
    mine, theirs = scope(reporters=FOUR), scope("other", reporters=[THIEF])
    chain = Chain(scopes=[mine, theirs])
    chain.do(ALICE, Transfer(CLAIMS[0], 500))
    assert chain.do(THIEF, Claim("main", OPERATORS[0], THIEF.public_key))[0].code != 0
    assert chain.do(THIEF, Claim("other", OPERATORS[0], THIEF.public_key))[0].code == 0
    assert chain.balance(CLAIMS[0]) == 500


def test_former_reporters_have_no_vote_on_bindings():
    chain = several()
    says(chain, REPORTERS[0], bind(1, ALICE))
    new = tuple(key.address for key in REPORTERS[1:5])
    epochs.change_scope(chain.app.state, SetScope("main", new, ("online_ppm",), ()))
    chain.app.state.commit()
    says(chain, REPORTERS[1], bind(1, ALICE))
    assert owner_of(chain, 1) is None
    says(chain, REPORTERS[4], bind(1, ALICE))
    assert owner_of(chain, 1) == ALICE.address
