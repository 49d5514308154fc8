"""Released rules, policies and gas schedules, and nodes that lack one."""

from __future__ import annotations

import hashlib

import pytest

from dii import codec, minting
from dii.application import gas
from dii.application.actions import SetGas, SetScope, SetStream
from dii.contracts import gas as contract_gas
from dii.errors import UpgradeNeeded
from dii.minting import POLICIES, RULES, FixedEmission, Spec, Uptime
from dii.schema import METRICS
from dii.units import SECOND
from tests import chains
from tests.chains import ALICE, EPOCH, REPORTER, START
from tests.governance import UP, Chain, V


@pytest.mark.parametrize(
    "action",
    [
        SetStream("main", "main", Spec("Uptime", 2, ()), FixedEmission(1).spec(), None),
        SetStream("main", "main", Uptime().spec(), Spec("Lottery", 1, ()), None),
        SetGas(1, 2),
        SetScope("main", (ALICE.address,), ("moonlight", "online_ppm"), ()),
    ],
    ids=lambda action: type(action).__name__,
)
def test_a_node_that_lacks_what_was_decided_stops_before_the_block(action):
    chain = Chain()
    number = chain.passes(action)
    acts, root = chain.proposal(number).acts, chain.app.info()
    chain.block(time=acts - SECOND)
    for _ in range(2):  # and again, when it is tried again
        with pytest.raises(UpgradeNeeded, match=f"block {chain.app.height + 1} needs"):
            chain.app.finalize_block(chain.app.height + 1, acts, [], V[0].address)
    assert chain.app.info() == (root[0] + 1, root[1])
    assert chain.standing(number) == "passed"


def test_a_node_that_has_it_goes_on_where_the_other_stopped(monkeypatch):
    class Uptime2(Uptime):
        version = 2

    Uptime2.__name__ = "Uptime"
    action = SetStream("main", "main", Spec("Uptime", 2, ()), FixedEmission(7).spec(), None)
    chain = Chain()
    number = chain.passes(action)
    acts = chain.proposal(number).acts
    with pytest.raises(UpgradeNeeded, match="Uptime/2"):
        chain.app.finalize_block(chain.app.height + 1, acts, [], V[0].address)
    monkeypatch.setitem(RULES, ("Uptime", 2), Uptime2)
    chain.block(time=acts)
    assert chain.standing(number) == "enacted"
    for epoch in range(4):
        chain.settle(epoch, UP)
    assert chain.issuance(3).rule.version == 2
    monkeypatch.delitem(RULES, ("Uptime", 2))  # somebody installs the old release again
    messages = chains.report(4, UP)
    wires = [chain.sign(REPORTER, message) for message in messages]
    with pytest.raises(UpgradeNeeded, match="Uptime/2"):
        chain.app.finalize_block(chain.app.height + 1, START + 5 * EPOCH, wires, V[0].address)


def draw(*what: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:8])


def columns(rule: minting.Rule) -> dict[str, list[int | None]]:
    """Return a fixed corpus: the edges of every metric's range, values between, and unknown."""
    rows = range(200)
    return {
        name: [
            [None, 0, 1, METRICS[name].maximum][row]
            if row < 4
            else draw(name, row) % 10 ** (1 + draw(name, row, "digits") % 6)
            for row in rows
        ]
        for name in rule.needs
    }


RELEASED_RULES = {
    ("Uptime", 1): (
        [{}, {"minimum_ppm": 900_000}],
        "18c352e2f4bd846c4173a4e2919a63da",
    ),
    ("ShapleyTraffic", 1): ([{}], "aaa41ac054f1e1cde2faec6fe36ba3b3"),
    ("Airtime", 1): ([{}, {"downlink": 1}, {"downlink": 7}], "598454e2347ea0e263fa8538d0f71a4c"),
    ("DataCredits", 1): ([{"rate": 1}, {"rate": 10_007}], "26e3f63675882509ea72280a8473f524"),
    ("Composite", 1): (
        [{"uptime": 5, "traffic": 3, "airtime": 1}, {"traffic": 9}],
        "c85199a01955af3f49ea70285c42f0c3",
    ),
}
RELEASED_POLICIES = {
    ("FixedEmission", 1): ([{"amount": 0}, {"amount": 10**10}], "67a95e0621d1fd117493115bd826f80e"),
    ("PerContribution", 1): (
        [{"rate": 50, "cap": 10**9}, {"rate": 10**9, "cap": 10**15}],
        "218441f3bc403e34b13e8e079cf6c14d",
    ),
    ("ExponentialDecay", 1): (
        [{"amount": 10**13, "keep_ppm": 999_000}, {"amount": 7, "keep_ppm": 1}],
        "4374d3aab5637a227e47ebe2b3266da8",
    ),
}
RELEASED_GAS = {1: "580712d7755c912e98ecc473976b13cd"}
"""Results of each released version on a corpus. These never change: who changes what a released
version does splits the chains that have voted for it. Write a new version beside it instead."""


def digest(value: object) -> str:
    return hashlib.sha256(codec.encode(value)).hexdigest()[:32]


def rule_digest(version: tuple[str, int], chosen: list[dict[str, int]]) -> str:
    made = [RULES[version](**parameters) for parameters in chosen]
    weights = [minting.weigh(rule, columns(rule), [9]) for rule in made]
    facts = [(rule.scale, rule.claim, rule.needs, str(rule.spec())) for rule in made]
    return digest((facts, weights))


def policy_digest(version: tuple[str, int], chosen: list[dict[str, int]]) -> str:
    made = [POLICIES[version](**parameters) for parameters in chosen]
    sums = [0, 1, 10**6, 10**12, 2**62]
    pools = [
        policy.pool(epoch, total, scale)
        for policy in made
        for epoch in (0, 1, 2, 693, 5_000)
        for total in sums
        for scale in (1, 1_000, 720_720, 10**6)
    ]
    return digest((pools, [str(policy.spec()) for policy in made]))


def gas_digest() -> str:
    prices = {
        f"{module.__name__}.{name}": value
        for module in (gas, contract_gas)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int)
    }
    sizes = [0, 1, 100, 65_536]
    return digest((sorted(prices.items()), [gas.intrinsic(size) for size in sizes]))


def test_every_version_that_this_release_has_is_held_to_what_it_does():
    assert RELEASED_RULES.keys() == RULES.keys()
    assert RELEASED_POLICIES.keys() == POLICIES.keys()
    assert RELEASED_GAS.keys() == gas.VERSIONS


@pytest.mark.parametrize("version", RELEASED_RULES)
def test_a_released_rule_does_what_it_did(version):
    chosen, golden = RELEASED_RULES[version]
    assert rule_digest(version, chosen) == golden


@pytest.mark.parametrize("version", RELEASED_POLICIES)
def test_a_released_policy_does_what_it_did(version):
    chosen, golden = RELEASED_POLICIES[version]
    assert policy_digest(version, chosen) == golden


def test_a_released_schedule_of_gas_charges_what_it_did():
    assert gas_digest() == RELEASED_GAS[max(RELEASED_GAS)]


def test_division_of_a_pool_is_part_of_what_is_released():
    weights = [draw("weight", row) % 10**9 for row in range(300)]
    found = [
        (minting.due(pool, sum(weights), claim=claim), minting.share(pool, weights, sum(weights)))
        for pool in (0, 1, 10**6, 10**12, 2**62)
        for claim in (False, True)
    ]
    assert digest(found) == DIVIDED


DIVIDED = "759724baf4fd1c34d030d5c355ba6f91"
