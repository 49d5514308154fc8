"""Agreements as people handle them: in Python and on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dii import Network, agreements, codec, load
from dii.application.records import RESERVED, STORAGE
from dii.crypto import format_address
from dii.errors import BadCall, BadSource, Refused, UnknownContract
from tests.cli import output
from tests.require import SAMPLE

ONLINE, DEAF, OWNER = "ttn:gateway-14", "B827EBFFFE0F7730", "linden-lab"
UNIT = 10**6

COUNTER = '''
"""Counts what people bring.

Nobody gets it back before the end."""
brought: map[Address, int]
names: list[str]
best: Address
until: int
last: int

def init(epochs: int):
    until = epoch + epochs - 1
    best = sender

@payable
def bring(name: str):
    """Bring money."""
    assert value > 0, "nothing came along"
    brought[sender] = get(brought, sender, 0) + value
    names = names + [name]
    if brought[sender] > get(brought, best, 0):
        best = sender
    emit("brought", sender, value)

@on_epoch
def close(settled: int):
    last = settled
    if settled == until and balance > 0:
        pay(best, balance)

@view
def of(who: Address) -> int:
    """Tell what someone brought."""
    return get(brought, who, 0)
'''


@pytest.fixture
def net() -> Iterator[Network]:
    """The sample, nothing of it settled."""
    made = Network.create("ttn", seed=7, allocations={"bob": "500 TTC", "alice": "100 TTC"})
    with made as network:
        network.ingest(load(*SAMPLE))
        yield network


def told(deal: Any) -> list[str]:
    """Return the events of a contract, as people read them."""
    events = deal.events()
    return [f"{row.event}: {row.details}" for row in events[events["told"]].itertuples()]


def balance(network: Network, who: str) -> int:
    table = network.accounts().set_index("account")
    return int(table["balance_uttc"][who])


def test_agreements_pay_and_refund_by_themselves_and_say_why(net: Network):
    good, bad = (
        net.deploy(
            agreements.UptimeAgreement, by="bob", value="40 TTC", gateway=gateway,
            online_ppm=950_000, epochs=4,
        )
        for gateway in (ONLINE, DEAF)
    )  # fmt: skip
    calls = net.deploy(
        agreements.PayPerUplink, by="bob", value="9 TTC", application="doors-1",
        operators=[OWNER], price="0.05 TTC", epochs=4,
    )  # fmt: skip
    calls.call("fund", by="alice", value="1 TTC")
    assert calls.view("status") == "running"
    assert "hired  linden-lab\n" in repr(calls)
    net.run()
    assert (good.view("status"), calls.view("status")) == ("over", "owing")
    assert calls.lines()["it says it is"] == "owing"
    assert [line.split(",")[0] for line in told(good)] == [f"paid: epoch {n}" for n in range(4)]
    assert f"to {OWNER}" in told(good)[0]
    assert [line.split(":")[0] for line in told(bad)] == ["paid", "paid", "refunded", "refunded"]
    assert good.balance == bad.balance == 0
    delivered = sum(
        row["delivered"]
        for epoch in range(4)
        for row in net.usage(epoch).to_pylist()
        if row["application"] == "doors-1"
        and row["operator"]
        and net.home.label(bytes.fromhex(row["operator"])) == OWNER
    )
    owed = calls.view("credited", to=OWNER)
    assert owed == delivered * UNIT // 20 > 0
    before = balance(net, OWNER)
    calls.call("withdraw", by="alice", to=OWNER)
    assert balance(net, OWNER) == before + owed
    assert calls.balance == 0
    assert net.state.get(RESERVED, "main") == 0
    assert set(net.contracts()["status"]) == {"ended with epoch 3"}
    net.verify()


def test_an_operator_who_claims_an_account_goes_on_being_credited(net: Network):
    deal = net.deploy(
        agreements.PayPerUplink, by="bob", value="10 TTC", application="doors-1",
        operators=[OWNER], price="0.05 TTC", epochs=3,
    )  # fmt: skip
    claim = deal.variables()["hired"]
    net.run(epochs=1)
    first = deal.view("credited", to=OWNER)
    address = net.home.address(OWNER)
    net.claim(OWNER, "alice")
    net.run(epochs=2)
    whole = deal.view("credited", to=format_address(address))
    assert claim == [OWNER]
    assert whole == 3 * first > 0  # the sample's doors are as busy every day
    before = balance(net, "alice")
    deal.call("withdraw", by="bob", to=format_address(address))
    assert balance(net, "alice") == before + whole


def test_two_names_of_one_operator_are_credited_once(net: Network):
    """A claim account and a key's account may be two names of one operator."""
    claim = net.home.address(OWNER)
    terms = {"application": "doors-1", "price": "0.05 TTC", "epochs": 2}
    names = {"one": [OWNER], "two": [OWNER, "alice"], "turned": ["alice", OWNER]}
    deals = {
        what: net.deploy(agreements.PayPerUplink, by="bob", value="10 TTC", operators=who, **terms)
        for what, who in names.items()
    }
    net.claim(OWNER, "alice")
    net.run(epochs=2)
    paid = {
        what: [deal.view("credited", to=to) for to in (format_address(claim), "alice")]
        for what, deal in deals.items()
    }
    (credit, _) = paid["one"]
    assert credit > 0
    assert paid == {"one": [credit, 0], "two": [credit, 0], "turned": [0, credit]}


def test_income_of_a_shared_gateway_from_agreements_is_shared(net: Network):
    net.claim(OWNER, "alice")
    shared = net.deploy(agreements.SharedOwnership, by="bob", owners=["alice", "bob"], parts=[3, 1])
    assert shared.view("status") == "empty"
    net.assign(ONLINE, "alice", shared.address)
    net.run(epochs=1)
    online = net.deploy(
        agreements.UptimeAgreement, by="bob", value="8 TTC", gateway=ONLINE, online_ppm=1, epochs=2
    )
    traffic = net.deploy(
        agreements.PayPerUplink, by="bob", value="10 TTC", application="doors-1",
        operators=[shared.address], price="1 TTC", epochs=2,
    )  # fmt: skip
    net.run(epochs=2)
    assert (online.balance, online.view("status")) == (0, "over")
    assert traffic.view("status") == "owing"
    owed = traffic.view("credited", to=shared.address)
    assert owed > 0
    before = shared.balance
    assert before > 8 * UNIT
    traffic.call("withdraw", by="bob", to=shared.address)
    assert shared.balance == before + owed
    assert traffic.view("status") == "over"
    due = shared.view("due", owner="alice")
    assert due == 3 * ((before + owed) // 4)
    assert shared.view("status") == "owing"


def test_a_contract_written_in_a_cell_is_checked_deployed_called_and_asked(net: Network):
    assert net.check(COUNTER)
    assert repr(net.check(COUNTER)) == "no faults"
    deal = net.deploy(COUNTER, by="bob", epochs=2)
    assert deal.view("of", who="alice") == 0
    deal.call("bring", by="alice", value="2 TTC", name="a, b")
    deal.call("bring", by="bob", value="1.5 TTC", name="c")
    assert deal.view("of", who="alice") == 2 * UNIT
    assert deal.variables() == {
        "names": ["a, b", "c"], "best": "alice", "until": 1, "last": 0,
    }  # fmt: skip
    again = net.contract(deal.address)
    assert repr(again) == repr(deal)
    assert "Counts what people bring. Nobody gets it back before the end." in repr(deal)
    assert "bring(name: str)" in repr(deal)
    before = balance(net, "alice")
    net.run(epochs=2)
    assert balance(net, "alice") == before + 3_500_000
    words = "deployed called brought called brought pays ended"
    assert deal.events()["event"].tolist() == words.split()
    assert told(deal) == [
        "brought: sender alice, value 2 TTC",
        "brought: sender bob, value 1.5 TTC",
    ]
    source = deal.source
    assert net.check(source)
    assert net.deploy(source, by="bob", epochs=1).record.code == deal.record.code


def test_faults_of_a_text_come_all_at_once_with_their_places(net: Network):
    text = "while True:\n    pass\n\n@external\ndef f(n: int):\n    x = n ** 2\n    y = 1.5\n"
    found = net.check(text)
    assert not found
    assert [fault.at.line for fault in found.faults] == [1, 6, 7]
    assert "^" in repr(found)
    with pytest.raises(BadSource, match=r"\*\*"):
        net.deploy(text, by="bob")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "epochs? It takes epochs: int"),
        ({"epochs": 2, "more": 1}, "more? It takes"),
        ({"epochs": "soon"}, "epochs: "),
        ({"epochs": True}, "epochs: "),
        ({"epochs": 2**255}, "epochs: "),
    ],
)
def test_arguments_that_do_not_fit_cost_nothing(
    net: Network, arguments: dict[str, Any], message: str
):
    before = net.height
    with pytest.raises(BadCall, match=re.escape(message)):
        net.deploy(COUNTER, by="bob", **arguments)
    assert net.height == before


def test_money_is_read_and_shown_by_type_whatever_its_name(net: Network):
    source = """
cost: Money
price: int
spent: list[Money]

def init(amount: int, cost_: Money, spent_: list[Money]):
    cost = cost_
    price = amount
    spent = spent_

@external
def note(parts: int):
    part = cost // parts
    emit("noted", parts, part, cost, cost // part)

@view
def value_of() -> int:
    return price

@view
def half() -> Money:
    return cost // 2
"""
    for cost, money in {"2": 2 * UNIT, "2 TTC": 2 * UNIT, 2: 2, "0.5 TTC": UNIT // 2}.items():
        deal = net.deploy(source, by="bob", amount="5", cost_=cost, spent_=[cost, "1 TTC"])
        assert deal.variables() == {"cost": money, "price": 5, "spent": [money, UNIT]}
    lines = deal.lines()
    assert (lines["cost"], lines["price"], lines["spent"]) == ("0.5 TTC", "5", "0.5 TTC, 1 TTC")
    assert deal.answer("value_of", deal.view("value_of")) == "5"
    assert deal.answer("half", deal.view("half")) == "0.25 TTC"
    deal.call("note", by="bob", parts=2)
    assert told(deal) == ["noted: parts 2, part 0.25 TTC, cost 0.5 TTC, 2"]
    for parts in ("5.0", "2.5", "two", "1,000", "95 %", "5 EUR", "5 TTC"):
        with pytest.raises(BadCall, match=f"amount: cannot read '{parts}' as a whole number"):
            net.deploy(source, by="bob", amount=parts, cost_=1, spent_=[])
    for wrong in ("5 EUR", "95 %", "two", -1, 2**63, True):
        with pytest.raises(BadCall, match="cost_: cannot read"):
            net.deploy(source, by="bob", amount=1, cost_=wrong, spent_=[])


def test_a_gateway_and_an_application_of_one_name_never_stand_for_each_other(net: Network):
    source = """
watched: Gateway
consumer: Application
raw: bytes

def init(g: Gateway, a: Application, b: bytes):
    watched = g
    consumer = a
    raw = b
"""
    gateway_hash, application_hash = b"G" * 20, b"A" * 20
    net.home.remember("gateway", {gateway_hash: "twin", b"H" * 20: "mast"})
    net.home.remember("application", {application_hash: "twin", b"B" * 20: "shop"})
    deal = net.deploy(source, by="bob", g="twin", a="twin", b="0x" + "ab" * 20)
    assert deal.variables() == {"watched": "twin", "consumer": "twin", "raw": "ab" * 20}
    stored = [
        codec.decode(net.state.get(STORAGE, net.home.address(deal.address), key))
        for key in (codec.encode(("watched",)), codec.encode(("consumer",)))
    ]
    assert stored == [gateway_hash, application_hash]
    again = net.deploy(
        source, by="bob", g=gateway_hash.hex(), a="0x" + application_hash.hex(), b=b""
    )
    assert again.variables() == {"watched": "twin", "consumer": "twin", "raw": ""}
    with pytest.raises(BadCall, match="b: 'twin' is no hexadecimal; a name takes a Gateway or"):
        net.deploy(source, by="bob", g="twin", a="twin", b="twin")
    with pytest.raises(BadCall, match="g: no gateway goes by 'shop'"):
        net.deploy(source, by="bob", g="shop", a="shop", b=b"")
    with pytest.raises(BadCall, match="a: no application goes by 'mast'"):
        net.deploy(source, by="bob", g="mast", a="mast", b=b"")


def test_needs_reservations_and_failures_of_hooks_are_shown(net: Network):
    with pytest.raises(Refused, match=r"6,000 gas an epoch is reserved; the contract needs \d+"):
        net.deploy(
            agreements.UptimeAgreement, by="bob", value="40 TTC", gateway=ONLINE,
            online_ppm="95 %", epochs=4, hook_gas=6_000,
        )  # fmt: skip
    source = """
until: int
turns: int
paid: map[int, int]

def init(epochs: int, turns_: int):
    until = max(0, epoch) + epochs - 1
    turns = turns_

@on_epoch
def settle(settled: int):
    for i in range(turns):
        paid[i] = settled
"""
    many, few = (net.deploy(source, by="bob", epochs=3, turns_=turns) for turns in (9_999, 2))
    net.run(epochs=2)
    assert (many.failures, few.failures) == (2, 0)
    reserved, needed = many.record.hook_gas, many.hook_gas_needed
    shown = f"{reserved:,} gas reserved, {needed:,} needed at least; 2 runs failed so far"
    assert many.lines()["each epoch"] == shown
    table = net.contracts().set_index("contract").loc[many.address]
    assert [table["gas_reserved"], table["gas_needed"], table["runs_failed"]] == [
        reserved,
        needed,
        2,
    ]
    assert net.deploy(source, by="bob", epochs=3, turns_=0, hook_gas=needed)
    with pytest.raises(Refused, match="the contract needs"):
        net.deploy(source, by="bob", epochs=3, turns_=0, hook_gas=needed - 1)


def test_an_argument_may_go_by_the_name_of_a_parameter_of_ours(net: Network):
    source = """
n: int

def init(source: int, network: int):
    n = source + network

@view
def sum_of(function: int, self: int) -> int:
    return n + function + self
"""
    deal = net.deploy(source, by="bob", source=1, network=2)
    assert deal.view("sum_of", function=3, self=4) == 10


def test_a_share_is_read_in_per_cent_or_millionths_by_type_whatever_its_name(net: Network):
    source = "least: Share\n\ndef init(part: Share, other_ppm: int):\n    least = part\n"
    for word, parts in {
        "95 %": 950_000,
        "87.5%": 875_000,
        "170": 170,
        "0": 0,
        "0.0001 %": 1,
    }.items():
        deal = net.deploy(source, by="bob", part=word, other_ppm=0)
        assert deal.variables() == {"least": parts}
    for wrong in ({"part": "0.00001 %"}, {"part": "-1 %"}, {"other_ppm": "95 %"}):
        with pytest.raises(BadCall, match="cannot read"):
            net.deploy(source, by="bob", **({"part": 0, "other_ppm": 0} | wrong))
    with pytest.raises(BadCall, match=r"part: 95 may be 95 % .*: write 95% or 950000"):
        net.deploy(source, by="bob", part="95", other_ppm=0)
    with pytest.raises(BadCall, match=r"part: cannot read '95.5' as a whole number.*%"):
        net.deploy(source, by="bob", part="95.5", other_ppm=0)
    assert net.deploy(source, by="bob", part=95, other_ppm=0).variables() == {"least": 95}


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("    return 'fine'", "fine"),
        ("    return '<b>'", "&lt;b&gt;"),
        ("    assert False", None),
        ("    for i in range(1_000_000_000):\n        pass\n    return ''", None),
    ],
)  # fmt: skip
def test_the_status_that_a_contract_states_is_shown_beside_the_chains(
    net: Network, body: str, shown: str | None
):
    source = f"n: int\n\ndef init():\n    n = 0\n\n@view\ndef status() -> str:\n{body}\n"
    deal = net.deploy(source, by="bob")
    assert deal.lines()["status"] == "runs when called"
    assert ("it says it is" in deal.lines()) == (shown is not None)
    if shown is not None:
        assert f">{shown}<" in deal._repr_html_()


def test_a_text_that_only_looks_like_bytes_is_shown_as_it_is(net: Network):
    source = """
word: str

def init(text: str):
    word = text
    emit("says", text)

@view
def said() -> str:
    return word
"""
    for text in ("0xyz", "0xabc"):
        deal = net.deploy(source, by="bob", text=text)
        assert told(deal) == [f"says: text {text}"]
        assert deal.lines()["word"] == deal.answer("said", deal.view("said")) == text


def test_the_rest_of_a_purse_is_told_in_epochs(net: Network):
    deal = net.deploy(COUNTER, by="bob", epochs=3)
    fee = deal.record.hook_gas * net.parameters.gas_price
    each = f"epochs of {deal.record.hook_gas:,} at {net.currency.format(fee)}"
    assert deal.lines()["purse"] == f"{net.currency.format(3 * fee)}, gas for 3 {each}"
    net.run(epochs=1)
    assert deal.lines()["purse"] == f"{net.currency.format(2 * fee)}, gas for 2 {each}"


def test_a_contracts_variables_hide_nothing_that_the_chain_says(net: Network):
    source = (
        'status: str\npurse: int\nrate: int\nrate_ppm: Share\n\ndef init():\n    status = "rich"\n'
    )
    deal = net.deploy(source, by="bob")
    lines = deal.lines()
    assert lines["status"] == "runs when called"
    assert (lines["its status"], lines["purse"]) == ("rich", "0")
    assert (lines["rate"], lines["its rate_ppm"]) == ("0", "0 %")


def test_all_terms_of_an_agreement_that_are_money_are_read_in_whole_units(net: Network):
    terms = {"pledging": 2, "building": 3, "online_ppm": "90%", "proofs": 2}
    deal = net.deploy(
        agreements.Assurance, by="bob", builder="alice", goal="100", upfront="25", **terms
    )
    found = deal.variables()
    assert (found["target"], found["advance"]) == (100 * UNIT, 25 * UNIT)


def test_refusals_of_the_chain_are_shown_in_its_words(net: Network):
    with pytest.raises(Refused, match=r"^Deploy refused: 1 gas an epoch is reserved"):
        net.deploy(COUNTER, by="bob", epochs=1, hook_gas=1)
    with pytest.raises(Refused, match="init set until to -1"):
        net.deploy(COUNTER, by="bob", epochs=0)
    with pytest.raises(Refused, match=r"has 100 TTC, but 101[.]0.* TTC is needed$"):
        net.deploy(
            agreements.UptimeAgreement, by="alice", value="101 TTC", gateway=ONLINE,
            online_ppm=1, epochs=1,
        )  # fmt: skip
    deal = net.deploy(COUNTER, by="bob", epochs=2)
    with pytest.raises(Refused, match=r"^TopUp refused: the amount is zero"):
        deal.top_up("0", by="bob")
    with pytest.raises(Refused, match=r"nothing came along; this cost 0\.\d+ TTC$"):
        deal.call("bring", by="alice", name="x")
    with pytest.raises(BadCall, match="there is bring, of"):
        deal.call("close", by="alice", settled=0)
    with pytest.raises(BadCall, match="it changes nothing: view it, which costs nothing"):
        deal.call("of", by="alice", who="alice")
    with pytest.raises(BadCall, match="may change something"):
        deal.view("bring", name="x")
    with pytest.raises(UnknownContract):
        net.contract("bob")
    with pytest.raises(BadCall, match="no gateway goes by 'nonesuch' here"):
        net.deploy(agreements.UptimeAgreement, by="bob", gateway="nonesuch", online_ppm=1, epochs=1)


# --- on the command line -------------------------------------------------------------------------


def test_an_agreement_from_the_command_line(tmp_path: Path):
    home = tmp_path / "home"
    output("init", "--home", home, "--seed", 7, "--allocate", "bob=500")
    output("load", *SAMPLE, "--home", home)
    words = ("--from", "bob", "--value", "40 TTC", "--home", home)
    terms = (f"gateway={ONLINE}", "online_ppm=950_000", "epochs=4")
    made = json.loads(output("contract", "deploy", "uptime", *terms, *words, "--json"))
    address = made["contract"]
    assert made["status"] == "runs each epoch until 3"
    output("run", "--home", home)
    shown = output("contract", "show", address, "--home", home)
    assert "Uptime with escrow and refund." in shown
    assert f"epoch 3, 10 TTC, to {OWNER}, online 100 %" in shown
    assert output("contract", "view", address, "outcome", "of=2", "--home", home) == "paid\n"
    assert output("contract", "view", address, "status", "--home", home) == "over\n"
    assert output("contract", "view", address, "part", "of=2", "--home", home) == "10 TTC\n"
    (listed,) = json.loads(output("list", "contracts", "--home", home, "--json"))
    assert (listed["contract"], listed["agreement"]) == (address, "uptime")
    file = tmp_path / "like.dii"
    source = agreements.UptimeAgreement.source
    file.write_text(f"# Of no weight.\n{source}")
    words = (*terms, "--from", "bob", "--value", "40", "--home", home, "--json")
    assert "as it comes along" in json.loads(output("contract", "deploy", file, *words))["text"]
    file.write_text(source + "\n\n@external\ndef take():\n    pay(sender, balance)\n")
    assert "its own" in json.loads(output("contract", "deploy", file, *words))["text"]
    kinds = {
        one["address"]: one["kind"]
        for one in json.loads(output("list", "accounts", "--home", home, "--json"))
    }
    assert kinds[address] == "contract"
    assert "@on_epoch" in output("contract", "show", address, "--source", "--home", home)
    refused = output("contract", "call", address, "close", "--from", "bob", "--home", home, code=1)
    assert "wait until thirty epochs after the last one" in refused
    refused = output("contract", "top-up", address, "1", "--from", "bob", "--home", home, code=1)
    assert "its last epoch is over" in refused


def test_a_file_is_checked_and_deployed(tmp_path: Path):
    home, file = tmp_path / "home", tmp_path / "counter.dii"
    file.write_text(COUNTER)
    assert output("contract", "check", file) == "no faults\n"
    for nothing in ("", "# Later.\n"):
        file.write_text(nothing)
        assert output("contract", "check", file) == "no faults, since there is nothing in it\n"
    file.write_text(COUNTER + "\nx = 1\n")
    assert "only state variables and functions stand here" in output(
        "contract", "check", file, code=1
    )
    assert json.loads(output("contract", "check", file, "--json", code=1))["ok"] is False
    file.write_text(COUNTER)
    output("init", "--home", home, "--seed", 7, "--allocate", "bob=500")
    output("load", *SAMPLE, "--home", home)
    where = ("--home", home)
    made = json.loads(
        output("contract", "deploy", file, "epochs=9", "--from", "bob", *where, "--json")
    )
    address = made["contract"]
    output("contract", "call", address, "bring", "name=x", "--value", "2", "--from", "bob", *where)
    assert output("contract", "view", address, "of", "who=bob", *where) == "2000000\n"
    output("contract", "top-up", address, "1", "--from", "bob", *where)
    file.write_text("@external\ndef f() -> int:\n    return require(1.5)\n")
    faults = output("contract", "deploy", file, "--from", "bob", *where, code=1)
    assert faults == output("contract", "check", file, code=1)
    assert faults.count("\n") == faults.count("line 3") * 4 > 0  # place, line, caret, hint
    file.write_bytes(b"\xff")
    assert "not UTF-8" in output("contract", "check", file, code=2)
    assert "no such file" in output("contract", "check", tmp_path / "none.dii", code=2)
    assert "more than 524,288 bytes" in output("contract", "check", "/dev/zero", code=2)
    assert "write it like price=2.5TTC" in output(
        "contract", "view", address, "of", "who", *where, code=2
    )


def test_the_source_of_an_event_about_a_payment_is_shown(tmp_path: Path):
    home, file = tmp_path / "home", tmp_path / "liar.dii"
    file.write_text(
        '@payable\ndef init():\n    amount = value\n    to = sender\n    emit("pays", amount, to)\n'
    )
    output("init", "--home", home, "--seed", 7, "--allocate", "bob=500")
    output("load", *SAMPLE, "--home", home)
    words = ("--from", "bob", "--value", "3", "--home", home, "--json")
    address = json.loads(output("contract", "deploy", file, *words))["contract"]
    shown = output("contract", "show", address, "--home", home)
    assert "text  its own; read what it does" in shown
    (noted, lied) = re.findall(r"^\S+ \S+ +(chain|contract)  +(.*)$", shown, re.MULTILINE)
    assert noted[0] == "chain"
    assert noted[1].startswith("deployed")
    assert lied == ("contract", "pays       3 TTC, to bob")


def test_the_agreements_are_listed_and_printed():
    listed = json.loads(output("contract", "agreements", "--json"))
    assert {one["name"] for one in listed} == set(agreements.AGREEMENTS)
    for name, one in agreements.AGREEMENTS.items():
        assert output("contract", "agreements", name) == one.source
    shown = output("contract", "agreements")
    assert "takes  gateway: Gateway, online_ppm: Share, epochs: int\n" in shown
