"""Governance for people: proposals, votes and their plain words."""

from __future__ import annotations

import pandas as pd
import pytest

from dii import Network, codec
from dii.application.actions import (
    DenyGateway,
    RemoveStream,
    SetGas,
    SetScope,
    SetStream,
    SetValidator,
    SpendTreasury,
)
from dii.application.governance import validators
from dii.errors import NoQuorum, Refused, UnknownName
from dii.ledger.block import Commit
from dii.minting import FixedEmission, Spec, Uptime
from dii.units import SECOND
from tests.chains import ALICE, gateway
from tests.governance import network, set_stream


def test_an_action_that_would_fail_now_is_noted_before_anybody_votes(tmp_path):
    with network(tmp_path) as net:
        net.propose(net.stream_change("main", policy=FixedEmission("20001 TTC")))
        free = (
            r"has 0 TTC, .* costs 0\.\d+ TTC; one open proposal.* are free: send it money, or wait$"
        )
        with pytest.raises(Refused, match=free):
            net.propose(SetGas(2, 1))
        (row,) = net.proposals().to_dict("records")
        assert row["status"] == "open"
        assert "above max_mint_per_epoch 20000000000" in row["note"]


def test_people_propose_vote_and_read_what_is_pending_in_plain_words(tmp_path):
    with network(tmp_path) as net:
        number = net.propose(net.stream_change("main", policy=FixedEmission("5000 TTC")))
        (row,) = net.proposals().to_dict("records")
        assert row["what"] == (
            "stream main: policy FixedEmission/1 (amount 10,000 TTC)"
            " -> FixedEmission/1 (amount 5,000 TTC)"
        )
        assert (row["number"], row["proposer"], row["status"]) == (number, "validator", "open")
        assert (row["yes"], row["total"], row["note"]) == (0, 1, "")
        assert row["expires"] == pd.Timestamp("2018-05-05T00:00:01Z")
        assert pd.isna(row["acts"])
        net.vote(number)
        (row,) = net.proposals().to_dict("records")
        assert (row["yes"], row["status"]) == (1, "passed")
        assert row["acts"] == pd.Timestamp("2018-04-21T01:00:03Z")
    with Network.open(tmp_path, readonly=True) as reader:
        assert reader.proposals().to_dict("records") == [row]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (set_stream("new", rest="treasury"), "stream new of scope main: rule Uptime/1"),
        (SetGas(5, 1), "gas price 1 -> 5 uttc, schedule 1"),
        (SpendTreasury(bytes(20), 10**7), "pay 10 TTC from the treasury to dii1"),
        (SetValidator(bytes(32), 3), "power 0 -> 3"),
        (RemoveStream("main", "main"), "end stream main of scope main"),
        (DenyGateway("main", gateway(1), bytes(32), 9), "until epoch 9, evidence 0000"),
        (SetScope("north", (bytes(20),), ("online_ppm",), ("lost",)), "new scope north: dii1"),
        (
            SetStream("main", "x", Spec("New", 3, ()), Spec("Old", 4, ()), None),
            "not in this release",
        ),
    ],
    ids=lambda it: type(it).__name__,
)  # fmt: skip
def test_every_action_has_plain_words(action, words):
    net = network()
    net.propose(action)
    assert words in net.proposals()["what"][0]


def test_a_proposer_hears_what_is_wrong_before_the_chain_says_so():
    net = network()
    root = net.state.committed_root
    dear = net.stream_change("main", policy=FixedEmission("20001 TTC"))
    assert "above max_mint_per_epoch" in net.concerns(dear)
    strange = SetStream("main", "main", Spec("Lottery", 1, ()), dear.policy, None)
    assert "Lottery/1" in net.concerns(strange)
    assert "its key is not here" in net.concerns(SetValidator(bytes(32), 1))
    for fine in (
        SetValidator(net.home.key("bob").public_key, 1),
        net.stream_change("main", policy=FixedEmission("20000 TTC"), rest="treasury"),
    ):
        assert net.concerns(fine) == ""
    assert net.state.root() == root
    with pytest.raises(UnknownName, match="'new', but main; a new one takes a rule and a policy"):
        net.stream_change("new", rule=Uptime())
    with pytest.raises(Refused, match=r"not a validator.*; this cost 0\.\d+ TTC$"):
        net.propose(dear, by="bob")


def test_one_home_with_the_keys_of_all_validators_goes_on_and_without_one_says_so(tmp_path):
    with network(tmp_path) as net:
        net.vote(net.propose(SetValidator(net.home.key("bob").public_key, 1)))
        later(net)
        net.transfer("bob", "treasury", 1)
        assert {one.public_key for one in commit(net)} == set(validators(net.state))
        net.transfer("bob", "validator", "1 TTC")
        number = net.propose(SetValidator(ALICE.public_key, 2))
        net.vote(number)
        net.vote(number, by="bob")
        with pytest.raises(NoQuorum, match="2 of 4"):
            later(net)


def later(net: Network) -> None:
    engine = net.signer()
    engine.include((), engine.time + 3600 * SECOND)
    engine.settle()


def commit(net: Network) -> Commit:
    return codec.loads(Commit, net.view.store.commit(net.height))
