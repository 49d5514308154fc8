"""Statements agree with the chain: figures add up, and the page has no active content."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dii import Network, agreements, load, minting
from dii.cli import screen
from dii.errors import AlreadyClaimed, BadMonth, Refused, UnknownName
from dii.network.page import page
from dii.network.statement import Statement
from dii.schema import SHAPLEY_UNIT
from dii.units import PPM, clean
from tests.cli import output
from tests.require import SAMPLE, program

HOSTILE = "\"><script>document.title='owned'</script><img src=x onerror=alert(1)>&amp;'"


@pytest.fixture(scope="module")
def claimed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, settled; north-iot is claimed by bob after five epochs, and money moved."""
    folder = tmp_path_factory.mktemp("statement") / "home"
    with Network.create(seed=7, home=folder, allocations={"bob": "500 TTC"}) as network:
        network.ingest(load(*SAMPLE))
        network.run(epochs=5)
        network.transfer("bob", "north-iot", "12.5 TTC")
        network.claim("north-iot", "bob")
        network.run()
        network.transfer("bob", "linden-lab", "1 TTC")
        network.burn("bob", "0.25 TTC")
    return folder


@pytest.fixture(scope="module")
def network(claimed: Path) -> Iterator[Network]:
    with Network.open(claimed, readonly=True) as opened:
        yield opened


def over_new_year(*, online: bool = False, epochs: int | None = None) -> Network:
    """Return a network that pays for being online, from December to January.

    ann's first gateway is away every fifth hour, her second most of the day, unless ``online``.
    """
    gateways = pd.DataFrame({"gateway": ["one", "two", "three"], "operator": ["ann", "ann", "cor"]})
    rows = [
        (name, datetime(2024, 12, 28, tzinfo=UTC) + timedelta(hours=hour + 1, seconds=-1))
        for hour in range(24 * 6)
        for name in ("one", "two", "three")
        if online or name == "three" or (hour % 5 if name == "one" else hour % 24 < 3)
    ]
    statuses = pd.DataFrame(rows, columns=["gateway", "time"]).assign(covers=3600 * 10**6, frames=1)
    rule, policy = minting.Uptime(minimum_ppm=200_000), minting.FixedEmission("100 TTC")
    money = {"bob": "500 TTC"}
    network = Network.create(seed=3, rule=rule, policy=policy, allocations=money)
    network.ingest(load(gateways, statuses))
    return network.run(epochs, complete=True)


# --- figures -------------------------------------------------------------------------------------


def test_the_books_of_every_operator_and_month_add_up(network: Network) -> None:
    earned = network.operators().set_index("operator")["earned_uttc"]
    for operator in set(earned.index) - {"treasury", "bob"}:
        found = network.statement(operator, "2025-03")
        assert found.other == 0
        moved = int(found.movements["amount"].sum())
        assert found.opening + found.credited + moved == found.closing
        assert found.earned == earned[operator]
    bob = network.statement("bob", "2025-03")
    assert (bob.opening, bob.other) == (500_000_000, 0)
    assert bob.earned == earned["bob"]
    assert "north-iot" not in earned
    assert bob.closing == network.accounts("bob")["balance_uttc"][0]
    assert set(bob.movements["kind"]) == {"transfer", "burn", "fee"}
    later = network.statement("bob", "2025-04")
    assert (later.opening, later.closing, later.earned) == (bob.closing, bob.closing, 0)
    earlier = network.statement("bob", "2025-02")
    assert (earlier.opening, earlier.closing, earlier.earned) == (bob.opening, bob.opening, 0)


def test_a_claimed_operator_and_the_key_have_one_statement(network: Network) -> None:
    bob, north = (network.statement(name, "2025-03") for name in ("bob", "north-iot"))
    assert north.accounts == bob.accounts
    assert len(bob.accounts) == 2
    for name in ("receipts", "movements", "rejected"):
        pd.testing.assert_frame_equal(getattr(bob, name), getattr(north, name))
    # What moved between the two is no movement: the transfer to north-iot before the claim.
    assert 12_500_000 not in bob.movements["amount"].abs().tolist()
    assert not any("claimed" in finding for finding in bob.findings)


def test_every_row_is_a_receipt_that_can_be_proven(network: Network) -> None:
    found = network.statement("linden-lab", "2025-03")
    assert len(found.receipts) == 16
    for row in found.receipts.to_dict("records"):
        receipt = network.receipt(row["gateway"], row["epoch"])
        assert receipt.verify(found.header)
        assert row["amount"] == receipt.amount
        assert row["contribution"] == receipt.weight / SHAPLEY_UNIT
        assert {name: row[name] for name in receipt.metrics} == receipt.metrics
        exact = row["pool"] * row["contribution"] / row["total_contribution"]
        assert row["amount"] == pytest.approx(exact, rel=1e-6)


def test_earnings_belong_to_the_month_of_their_epoch_and_are_credited_when_it_settles() -> None:
    with over_new_year() as network:
        december, january = (network.statement("cor", month) for month in ("2024-12", "2025-01"))
        daily = network.issuance(0).query("operator == 'cor'")["amount_uttc"].iloc[0]
        assert [len(one.receipts) for one in (december, january)] == [4, 2]
        # The last epoch of the year settles in the new one.
        assert december.earned - december.credited == pytest.approx(daily, abs=10)
        assert january.credited - january.earned == december.earned - december.credited
        assert (december.opening, december.closing) == (0, january.opening)
        assert january.closing == december.earned + january.earned
        assert january.receipts["start"].dt.strftime("%Y-%m").eq("2025-01").all()


def deploy(network: Network) -> None:
    network.deploy(
        agreements.UptimeAgreement, by="bob", value="20 TTC", gateway="one", online_ppm=950_000,
        epochs=2,
    )  # fmt: skip


def top_up(network: Network) -> None:
    for address in network.contracts()["contract"]:
        network.contract(address).top_up("0.5 TTC", by="bob")


ACTS = {
    "deploy": deploy,
    "top up": top_up,
    "transfer": lambda network: network.transfer("bob", "ann", "3 TTC"),
    "claim": lambda network: network.claim("ann", "bob"),
    "burn": lambda network: network.burn("bob", "1 TTC"),
    "refused": lambda network: network.vote(9, by="bob"),
    "run": lambda network: network.run(epochs=1),
}


@settings(max_examples=10)
@given(st.lists(st.sampled_from(sorted(ACTS)), max_size=8))
def test_the_rows_of_a_statement_and_of_its_table_come_to_the_change_of_the_balance(
    acts: list[str],
) -> None:
    with over_new_year(epochs=1) as network:
        for act in ["deploy", *acts, "run"]:
            with contextlib.suppress(AlreadyClaimed, Refused):
                ACTS[act](network)
        for who in ["bob", "ann", "cor", "treasury", *network.contracts()["contract"]]:
            for month in ("2024-12", "2025-01"):
                found = network.statement(who, month)
                assert found.other == 0 or who == "treasury"
                moved = int(found.table()["amount_uttc"].sum())
                assert found.opening + moved == found.closing


def test_a_fee_is_told_with_what_it_was_for_also_if_that_was_refused() -> None:
    with over_new_year(epochs=1) as network:
        sent = network.burn("bob", "1 TTC")
        with pytest.raises(Refused):
            network.vote(9, by="bob")
        lost = network.transactions()["id"].iloc[-1]
        movements = network.statement("bob", "2024-12").movements
        fees = movements[movements["kind"] == "fee"]["note"].tolist()
    assert fees == [f"Burn {sent[:16]}", f"Vote {lost[:16]}, refused"]


# --- what stood between --------------------------------------------------------------------------


def test_the_gain_of_being_online_is_what_the_same_rule_pays_who_was() -> None:
    with over_new_year() as away, over_new_year(online=True) as there:
        for month in ("2024-12", "2025-01"):
            found, best = (one.statement("ann", month) for one in (away, there))
            assert found.earned < best.earned
            (line,) = [one for one in found.findings if one.startswith("Not connected")]
            (gain,) = re.findall(r"for about ([\d,]+) TTC more", line)
            assert int(gain) == round((best.earned - found.earned) / 10**6)
            missed = best.receipts["contribution"].sum() - found.receipts["contribution"].sum()
            assert found.receipts["missed"].sum() == pytest.approx(missed)
            hours = (PPM - found.receipts["online_ppm"]).groupby(found.receipts["gateway"]).sum()
            for name, ppm in hours.items():
                assert f"{name} {ppm * 24 / PPM:,.1f} h" in line
            assert not any(one.startswith("Not connected") for one in best.findings)
            nothing = found.receipts[found.receipts["amount"] == 0]
            assert set(nothing["gateway"]) == {"ttn:two"}
            assert any(f"ttn:two ({len(nothing)})" in one for one in found.findings)


def test_shared_uplinks_are_counted_as_the_receipts_count_them(network: Network) -> None:
    found = network.statement("bob", "2025-03")
    sums = found.receipts[["uplinks", "sole_uplinks", "shapley_uplinks"]].sum()
    shared = sums["uplinks"] - sums["sole_uplinks"]
    counted = sums["shapley_uplinks"] / SHAPLEY_UNIT - sums["sole_uplinks"]
    line = next(one for one in found.findings if "other gateways" in one)
    assert line.startswith(f"{shared:,} of {sums['uplinks']:,} ")
    assert f"counted for {counted:,.2f};" in line


def test_unclaimed_accounts_and_unsettled_epochs_are_noted() -> None:
    with Network.create(seed=7) as network:
        network.ingest(load(*SAMPLE))
        network.run(epochs=3)
        findings = network.statement("linden-lab", "2025-03").findings
        assert any("not settled" in one and one.endswith(": 6.") for one in findings)
        assert any("claimed" in one for one in findings)
        later = network.statement("linden-lab", "2025-04")
        assert len(later.receipts) == 0
        assert "The data ends with 2025-03-11: there is none of this month." in later.findings
        assert not any("data ends" in one for one in findings)


def test_unknown_accounts_and_months_are_refused(network: Network) -> None:
    with pytest.raises(UnknownName):
        network.statement("nobody", "2025-03")
    for text in ("2025", "2025-13", "2025-00", "03-2025", "2025-03-01", "march", "", "9999-12"):
        with pytest.raises(BadMonth, match="2018-04"):
            network.statement("bob", text)


# --- the page ------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Parser of a page as a browser sees it: tags, attributes, texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attributes)
        self.links += [
            value or "" for name, value in attributes if name in {"src", "href", "style"}
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


def named(found: Statement, name: str) -> Statement:
    """Return a statement in which everything that strangers write is called by a name."""
    receipts = found.receipts.assign(gateway=name)
    rejected = pd.DataFrame({"gateway": [name], "reason": [name], "records": [1], "first": [name]})
    movements = found.movements.assign(counterparty=name, kind=name)
    return dataclasses.replace(
        found, operator=name, receipts=receipts, rejected=rejected, movements=movements,
        chain=name, findings=(name,), currency=dataclasses.replace(found.currency, symbol=name),
    )  # fmt: skip


@pytest.fixture(scope="module")
def linden(network: Network) -> Statement:
    return network.statement("linden-lab", "2025-03")


@settings(max_examples=40)
@given(st.one_of(st.just(HOSTILE), st.text(min_size=1, max_size=30)))
@example("0\n")
def test_no_name_becomes_part_of_the_page(linden: Statement, name: str) -> None:
    plain, seen = Page(page(linden)), Page(page(named(linden, name)))
    assert seen.tags - {"ul", "li"} <= plain.tags
    assert seen.attributes == plain.attributes
    assert seen.links == []
    assert not seen.tags & {"script", "img", "iframe", "link", "a", "object", "form"}
    assert seen.text.count(clean(name)) >= 20


def test_the_page_says_what_the_statement_says(network: Network) -> None:
    found = network.statement("bob", "2025-03")
    text = Page(page(found)).text
    for amount in (found.earned, found.opening, found.closing):
        assert f"{amount / 10**6:,.6f}" in text
    for row in found.receipts.itertuples():
        assert row.gateway in text
        assert f"{row.amount / 10**6:,.6f}" in text
    for finding in found.findings:
        assert finding in text
    assert found.header.hash.hex() in text
    assert "March 2025" in text


def test_a_browser_shows_the_page_and_runs_nothing(network: Network, tmp_path: Path) -> None:
    browser, path = program("chromium"), tmp_path / "page.html"
    path.write_text(page(named(network.statement("bob", "2025-03"), HOSTILE)))
    run = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={tmp_path}", f"--screenshot={tmp_path / 'page.png'}", "--dump-dom",
         path.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    seen = Page(run.stdout)
    assert "earned" in seen.text
    assert not seen.tags & {"script", "img"}
    assert "owned</title>" not in run.stdout.replace(HOSTILE, "")


# --- the command ---------------------------------------------------------------------------------


def test_the_command_writes_page_table_and_document(
    claimed: Path, network: Network, tmp_path: Path
) -> None:
    words = ["statement", "bob", "--month", "2025-03", "--home", claimed]
    found = network.statement("bob", "2025-03")
    assert output(*words) == page(found)
    said = output(*words, "-o", tmp_path / "bob.html")
    assert network.currency.format(found.earned) in said
    assert (tmp_path / "bob.html").read_text() == page(found)
    document = json.loads(output(*words, "--json"))
    assert document["receipts"] == screen.plain(found.receipts)
    assert document["closing"] == found.closing
    rows = list(csv.DictReader(io.StringIO(output(*words, "--csv"))))
    issued = [row for row in rows if row["kind"] == "issuance"]
    assert sum(int(row["amount_uttc"]) for row in issued) == found.earned
    assert sum(int(row["amount_uttc"]) for row in rows) == found.closing - found.opening
    assert {row["pool_uttc"] for row in issued} == {"10000000000"}
    shown = re.search(r"<code>(dii proof make .*)\n(dii proof check .*)</code>", page(found))
    assert shown is not None
    proof = ["-o", tmp_path / "receipt.proof", "--home", claimed]
    output(*shlex.split(shown[1])[1:-2], *proof)
    assert "holds" in output("proof", "check", proof[1], *shlex.split(shown[2])[-2:])
    before = ["statement", "bob", "--month", "2024-02", "--home", claimed]  # nothing was there yet
    empty = network.statement("bob", "2024-02")
    assert output(*before) == page(empty)
    assert "proof" not in page(empty)
    assert len(output(*before, "--csv").splitlines()) == 1
    line = output("statement", "bob", "--month", "March", "--home", claimed, code=1)
    assert "2018-04" in line
    assert (
        output("statement", "nobody", "--month", "2025-03", "--home", claimed, code=1).count("\n")
        == 1
    )


@given(st.lists(st.text(max_size=12), min_size=1), st.integers())
def test_a_spreadsheet_finds_no_formula_in_what_strangers_write(
    texts: list[str], number: int
) -> None:
    frame = pd.DataFrame({"text": texts, "number": number % 2**63})
    rows = list(csv.DictReader(io.StringIO(screen.csv(frame))))
    assert len(rows) == len(texts)
    for text, row in zip(texts, rows):
        assert not row["text"].strip().startswith(tuple("=+-@\N{FULLWIDTH EQUALS SIGN}"))
        assert row["text"].removeprefix("'") == clean(text).removeprefix("'")
        assert row["number"] == str(number % 2**63)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\uff1d1"])
def test_formulas_are_led_by_an_apostrophe(text: str) -> None:
    rows = list(csv.reader(io.StringIO(screen.csv(pd.DataFrame({"name": [text]})))))
    assert rows[1] == [f"'{clean(text)}"]


def test_lists_have_no_formulas_either(tmp_path: Path) -> None:
    name = "=HYPERLINK(1)"
    gateways = pd.DataFrame({"gateway": ["one"], "operator": [name]})
    statuses = pd.DataFrame(
        {"gateway": ["one"], "time": [1_740_970_632 * 10**6], "covers": [10**9], "frames": [1]}
    )
    with Network.create(seed=1, home=tmp_path / "home", rule=minting.Uptime()) as network:
        network.ingest(load(gateways, statuses))
        network.run(complete=True)
        assert name in set(network.operators()["operator"])
    text = output("list", "operators", "--csv", "--home", tmp_path / "home")
    assert f"'{name}" in text
    assert f"\n{name}" not in text
