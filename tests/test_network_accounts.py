"""Transfers, claims and owners through the facade, and refused messages."""

from __future__ import annotations

import re
from contextlib import nullcontext

import pandas as pd
import pytest

from dii import Network, load
from dii.application.records import ACCOUNTS, GATEWAYS
from dii.crypto import SigningKey
from dii.errors import (
    AlreadyClaimed,
    BadAmount,
    BadName,
    KeyMissing,
    NoReceipt,
    NotYetSettled,
    Refused,
    UnknownName,
)
from dii.telemetry.load import Telemetry
from tests.network import EPOCHS, create, roots


def balances(network: Network) -> dict[str, int]:
    table = network.accounts()
    return dict(zip(table["account"], table["balance_uttc"]))


def fees(network: Network) -> int:
    return int(network.transactions()["fee_uttc"].sum())


def test_a_transfer_moves_money_between_names_and_addresses(net):
    before = balances(net)
    done = net.transfer("bob", "north-iot", "12.5 TTC")
    after = balances(net)
    assert after["north-iot"] == before["north-iot"] + 12_500_000
    assert after["bob"] == before["bob"] - 12_500_000 - fees(net)
    assert after["treasury"] == before["treasury"] + fees(net)
    assert done in set(net.transactions()["id"])
    address = net.accounts()["address"][0]
    net.transfer("bob", address, 7)
    assert net.transfers()["amount_uttc"].iloc[-1] == 7


def test_burning_destroys_money(net):
    before = net.verify()
    net.burn("bob", "1 TTC")
    after = net.verify()
    assert after.burned == before.burned + 10**6
    assert after.minted == before.minted


def test_an_operators_gateways_are_handed_on_by_who_claimed_them(net):
    gateway = next(
        row.gateway for row in net.gateways().itertuples() if row.operator == "north-iot"
    )
    owed = balances(net)["north-iot"]
    bob = balances(net)["bob"]
    net.claim("north-iot", "bob")
    assert balances(net)["bob"] == bob + owed
    net.assign(gateway, "bob", "linden-lab")
    hashed = net.home.gateway(gateway)
    assert net.state.get(GATEWAYS, "main", hashed).owners[-1][1] == net.home.address("linden-lab")
    net.run()
    paid = net.operators().set_index("operator")["earned_uttc"]
    assert paid["bob"] > 0
    assert net.receipt(gateway, EPOCHS - 1).operator == "linden-lab"
    net.verify()


def test_earnings_before_and_after_a_claim_are_one_sum(net):
    before = net.operators().set_index("operator")
    net.claim("north-iot", "bob")
    net.run()
    after = net.operators().set_index("operator")
    assert "north-iot" not in after.index
    assert after.loc["bob", "earned_uttc"] > before.loc["north-iot", "earned_uttc"]
    assert after.loc["bob", "paid_epochs"] == EPOCHS
    assert after["earned_uttc"].sum() == net.epochs()["paid_uttc"].sum()


def test_gateways_without_an_operator_are_listed_as_nobodys(whole):
    gateways = whole.gateways().set_index("gateway")
    named = {row["gateway"]: row["operator"] for row in whole.feed.telemetry.gateways.to_pylist()}
    assert named.keys() <= set(gateways.index)
    nobodys = [gateway for gateway, operator in named.items() if operator is None]
    assert nobodys
    assert gateways.loc[nobodys, "operator"].isna().all()
    assert gateways["earned_uttc"].sum() == whole.epochs()["paid_uttc"].sum()


def heard(days: list[int]) -> Telemetry:
    """Return three gateways' uplinks on some days of a month."""
    rows = [
        {"time": f"2025-03-{day:02d}T{hour:02d}:00:00Z", "gateway": f"AA0000000000000{hour % 3}",
         "device": "0011223344556677", "f_cnt": 24 * day + hour, "delivered": True}
        for day in days for hour in range(24)
    ]  # fmt: skip
    return load(pd.DataFrame(rows))


def owned(*operators: str | None) -> Telemetry:
    rows = [
        {"gateway": f"AA0000000000000{number}", "operator": operator}
        for number, operator in enumerate(operators)
    ]
    return load(pd.DataFrame(rows))


def test_a_later_registry_takes_nobodys_gateway_unless_reporters_are_told_to_and_not_at_once():
    with create(reporters=4, governance={"delay_seconds": 86_400}) as net:
        assert net.contested(owned("ben")) == {}
        net.ingest(heard([1, 2, 3, 4, 5]))
        others = [f"AA0000000000000{number}" for number in range(3)]
        registry = owned("ben", "ben", "carla")
        net.run(epochs=1)
        net.ingest(registry)
        assert set(net.issuance(0)["operator"]) == set(others)
        assert list(net.contested(registry)) == others
        net.ingest(registry, rebind=True)
        assert net.contested(registry) == {}
        net.run(complete=True)
        owners = [set(net.issuance(epoch)["operator"]) for epoch in range(5)]
        assert owners == [set(others)] * 3 + [{"ben", "carla"}] * 2
        net.verify()


def test_the_pool_of_an_epoch_in_which_nobody_earned_is_shown_as_not_minted():
    with create() as net:
        net.ingest(heard([1, 4]))
        epochs = net.run(complete=True).epochs()
        dust = epochs["dust_uttc"].shift(fill_value=0)
        spent = epochs[["paid_uttc", "unminted_uttc", "rest_uttc", "dust_uttc"]].sum(axis=1)
        assert (spent == epochs["pool_uttc"] + dust).all()
        assert list(epochs["unminted_uttc"] == epochs["pool_uttc"]) == [False, True, True, False]


def test_a_claimed_name_still_finds_both_accounts_after_reopening(tmp_path, data):
    with create(tmp_path / "home") as network:
        network.ingest(data)
        network.run(epochs=1)
        network.claim("north-iot", "bob")
        expected = balances(network)
    with Network.open(tmp_path / "home") as network:
        assert balances(network) == expected
        network.transfer("bob", "north-iot", 5)
        assert balances(network)["bob"] == expected["bob"] - fees(network), "it is forwarded"


def test_a_key_that_lives_elsewhere_may_claim(net):
    key = SigningKey.derive(99, "elsewhere")
    owed = balances(net)["north-iot"]
    net.claim("north-iot", key.public_key)
    assert net.state.get(ACCOUNTS, key.address).balance == owed


def test_a_refused_message_says_why_and_changes_nothing_but_its_fee(net):
    bob = balances(net)["bob"]
    with pytest.raises(Refused) as caught:
        net.transfer("bob", "treasury", "1000 TTC")
    assert balances(net)["bob"] == bob - fees(net)
    why = r"Transfer refused: bob has 499\.99\d+ TTC, but 1,000 TTC is needed; this cost "
    assert re.fullmatch(why + net.currency.format(fees(net)), str(caught.value))
    with pytest.raises(Refused, match="zero"):
        net.transfer("bob", "treasury", 0)
    with pytest.raises(Refused, match="belongs to"):
        net.assign(net.gateways()["gateway"][0], "bob", "bob")
    net.claim("north-iot", "bob")
    with pytest.raises(AlreadyClaimed, match="north-iot"):
        net.claim("north-iot", "bob")


@pytest.mark.parametrize(
    ("say", "error", "words"),
    [
        (lambda net: net.transfer("bob", "nobody", 5), UnknownName, "nobody"),
        (lambda net: net.transfer("nobody", "bob", 5), KeyMissing, "nobody"),
        (lambda net: net.transfer("no body", "bob", 5), BadName, "no body"),
        (lambda net: net.transfer("../bob", "bob", 5), BadName, r"\.\./bob"),
        (lambda net: net.transfer("bob", "dii1qqqq", 5), Exception, "dii1qqqq"),
        (lambda net: net.transfer("bob", "treasury", "5 XYZ"), BadAmount, "TTC"),
        (lambda net: net.transfer("bob", "treasury", -5), BadAmount, "between 0"),
        (lambda net: net.transfer("bob", "treasury", 1.5), BadAmount, "integer"),
        (lambda net: net.assign("no-gateway", "bob", "bob"), UnknownName, "no-gateway"),
        (lambda net: net.claim("nobody", "bob"), UnknownName, "nobody"),
        (lambda net: net.claim("linden-lab", "nobody"), KeyMissing, "nobody"),
        (lambda net: net.issuance(99), NotYetSettled, "99"),
        (lambda net: net.issuance(-1), NotYetSettled, "-1"),
        (lambda net: net.receipt("no-gateway", 0), UnknownName, "no-gateway"),
        (lambda net: net.receipt("ff" * 20, 0), NoReceipt, "ff"),
        (lambda net: net.receipt("ff" * 20, 99), NotYetSettled, "99"),
    ],
)
def test_an_impossible_message_is_a_named_error_and_nothing_happens(whole, say, error, words):
    before = roots(whole)
    with pytest.raises(error, match=words):
        say(whole)
    assert roots(whole) == before


def test_a_name_that_only_a_registry_knows_has_no_key_and_stays_one_account(net):
    """An attempt to sign in an operator's name must not divert its money."""
    address = net.home.address("north-iot")
    with pytest.raises(KeyMissing, match="north-iot"):
        net.transfer("north-iot", "bob", 5)
    assert net.home.address("north-iot") == address
    assert sum(name == "north-iot" for name in net.home.names("account").values()) == 1


def test_receipts_verify_against_the_last_header_whatever_happened_before(net):
    gateway = net.issuance(1).gateway[0]
    for words, happen in {
        "moved": lambda: net.transfer("bob", "treasury", 5),
        "not moved": lambda: net.transfer("bob", "treasury", "1000 TTC"),
        "not burned": lambda: net.burn("bob", "1000 TTC"),
        "settled": lambda: net.run(epochs=1),
    }.items():
        with pytest.raises(Refused) if "not" in words else nullcontext():
            happen()
        assert net.receipt(gateway, 1).verify(net.header())
