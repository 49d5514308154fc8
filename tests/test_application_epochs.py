"""Epochs from open to closed, and reports that are refused."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii import codec
from dii.application import epochs
from dii.application.bank import supply
from dii.application.messages import Message, ReportChunk, ReportManifest
from dii.application.pages import Page
from dii.application.records import (
    ACCOUNTS,
    CHAIN,
    CHUNKS,
    CURSORS,
    DUTIES,
    GATEWAYS,
    ISSUANCES,
    MINTED,
    PAGES,
    REPORTS,
    SCOPES,
    STREAMS,
    Duty,
)
from dii.application.streams import current
from dii.errors import (
    BadReport,
    DuplicateReport,
    EpochNotReportable,
    MetricOutOfRange,
    TransactionError,
    UnknownScope,
)
from tests.application import FULL, METRICS_OF, OWNERS, ROWS, epoch_end, mixed
from tests.chains import ALICE, BOB, OPENING, REPORTER, Chain, gateway, report, scope, stream


def test_an_epoch_is_open_until_it_ends_then_reporting_settling_and_closed():
    chain = Chain(limits={"settle_rows": 1})

    def status(epoch: int) -> str:
        record = chain.app.state.get(CHAIN)
        return epochs.status(chain.app.state, record, "main", epoch, chain.time)

    assert status(0) == "open"
    chain.block(time=epoch_end(0) - 1)
    assert status(0) == "open"
    chain.block(time=epoch_end(0))
    assert (status(0), status(1)) == ("reporting", "open")
    chain.do(REPORTER, *report(0, ROWS))
    assert status(0) == "settling"
    while chain.block().changed:
        assert status(0) in {"settling", "closed"}
    assert (status(0), status(1)) == ("closed", "open")


@pytest.mark.parametrize("epoch", [1, 2, 10**9, 2**64 - 1])
def test_an_epoch_that_has_not_ended_cannot_be_reported(epoch):
    chain = Chain(gas_price=0)
    (result,) = chain.do(REPORTER, report(epoch, {})[0], time=epoch_end(0))
    assert result.code == EpochNotReportable.code
    assert "open" in result.detail


def test_a_closed_or_settling_epoch_cannot_be_reported_again():
    chain = Chain(gas_price=0, limits={"settle_rows": 1})
    messages = report(0, ROWS)
    chain.do(REPORTER, *messages, time=epoch_end(0))
    for message in messages:
        (result,) = chain.do(REPORTER, message)
        assert result.code in {EpochNotReportable.code, DuplicateReport.code}
    while chain.block().changed:
        pass
    codes = [one.code for one in chain.do(REPORTER, *messages)]
    assert codes == [EpochNotReportable.code] * 2


def test_epochs_settle_in_order_and_wait_for_their_report():
    chain = Chain()
    chain.block(time=epoch_end(3))
    for epoch in (2, 1):
        assert {one.code for one in chain.do(REPORTER, *report(epoch, ROWS))} == {0}
        chain.block()
        assert chain.settled() == 0
    chain.do(REPORTER, *report(0, ROWS))
    assert chain.settled() == 3
    rows = [row for result in chain.blocks for row in result.rows.get("epochs", [])]
    assert [row[1] for row in rows] == [0, 1, 2]


def test_a_scope_without_reports_holds_up_no_other():
    chain = Chain(scopes=[scope(), scope("other")], streams=[stream(), stream("2", scope="other")])
    for epoch in range(3):
        chain.settle(epoch, ROWS, scope="other")
    assert (chain.settled("main"), chain.settled("other")) == (0, 3)


def test_an_incomplete_report_pays_nobody():
    chain = Chain()
    messages = report(0, ROWS, chunk_rows=1)
    assert {one.code for one in chain.do(REPORTER, *messages[:-1], time=epoch_end(0))} == {0}
    for _ in range(3):
        assert not chain.block(time=epoch_end(2)).changed
    assert supply(chain.app.state).minted == 4 * OPENING
    assert chain.do(REPORTER, messages[-1])[0].code == 0
    assert chain.settled() == 1


def bad_reports() -> dict[str, tuple[type[TransactionError], list[Message]]]:
    """Return reports whose last message is refused."""
    manifest, *chunks = report(0, ROWS, chunk_rows=2)
    hashes = manifest.chunks
    columns = ("online_ppm",)
    twice = Page([gateway(1), gateway(1)], [[1, 1]]).encode()
    four = Page([gateway(number) for number in range(4)], [[1] * 4]).encode()
    unsorted = Page([gateway(2), gateway(1)], [[1, 1]]).encode()
    beyond = Page([gateway(1), gateway(2)], [[1, FULL + 1]]).encode()
    two = Page([gateway(1), gateway(2)], [[1, 1], [1, 1]]).encode()
    none = codec.encode((b"", ((1, b"", None),)))
    wide = codec.encode((gateway(1), ((2, b"\0\1", None),)))
    masked = codec.encode((gateway(1), ((1, b"\1", b"\1"),)))

    def announced(data: bytes, rows: int = 2) -> list[Message]:
        chunk = ReportChunk("main", 0, data)
        return [ReportManifest("main", 0, rows, columns, (sha256(data).digest(),)), chunk]

    return {
        "unknown scope": (UnknownScope, [ReportManifest("moon", 0, 0, columns, ())]),
        "other columns": (BadReport, [ReportManifest("main", 0, 0, ("uplinks",), ())]),
        "no columns": (BadReport, [ReportManifest("main", 0, 0, (), ())]),
        "chunks without rows": (BadReport, [ReportManifest("main", 0, 0, columns, hashes)]),
        "rows without chunks": (BadReport, [ReportManifest("main", 0, 4, columns, ())]),
        "more chunks than rows": (BadReport, [ReportManifest("main", 0, 1, columns, hashes)]),
        "more rows than allowed": (BadReport, [ReportManifest("main", 0, 101, columns, hashes)]),
        "no manifest": (BadReport, [chunks[0]]),
        "chunks out of order": (BadReport, [manifest, chunks[1]]),
        "a chunk twice": (BadReport, [manifest, chunks[0], chunks[0]]),
        "a chunk too many": (DuplicateReport, [manifest, *chunks, chunks[1]]),
        "fewer rows than announced": (BadReport, announced(wide, 2)),
        "more rows than announced": (BadReport, announced(chunks[0].data, 1)),
        "a gateway twice": (BadReport, announced(twice)),
        "rows beyond what is announced, at once": (
            BadReport,
            [
                ReportManifest("main", 0, 3, columns, (sha256(four).digest(), bytes(32))),
                ReportChunk("main", 0, four),
            ],
        ),
        "gateways that descend": (BadReport, announced(unsorted)),
        "gateways that descend from chunk to chunk": (
            BadReport,
            [ReportManifest("main", 0, 4, columns, hashes[::-1]), chunks[1], chunks[0]],
        ),
        "a value out of range": (MetricOutOfRange, announced(beyond)),
        "a column too many": (BadReport, announced(two)),
        "no rows": (BadReport, announced(none)),
        "a column wider than it need be": (BadReport, announced(wide, 1)),
        "a mask that says nothing": (BadReport, announced(masked, 1)),
        "bytes": (BadReport, announced(b"\0")),
        "no bytes": (BadReport, announced(b"")),
    }


@pytest.mark.parametrize(("error", "messages"), bad_reports().values(), ids=bad_reports())
def test_a_bad_report_is_refused_with_its_reason(error, messages):
    chain = Chain(gas_price=0, limits={"max_rows": 100, "settle_rows": 1})
    chain.block(time=epoch_end(0))
    *others, last = chain.do(REPORTER, *messages)
    assert {one.code for one in others} <= {0}
    assert last.code == error.code
    assert last.detail


def test_a_report_of_no_gateways_closes_its_epoch():
    chain = Chain()
    chain.settle(0, {})
    found = chain.issuance(0)
    assert (found.count, found.root, found.paid) == (0, sha256(b"").digest(), 0)
    assert chain.settled() == 1


def test_a_closed_epoch_leaves_its_issuance_and_the_metrics_of_two_epochs():
    chain = Chain(limits={"max_bindings": 9})
    for epoch in range(4):
        chain.register((epoch + 1, ALICE.address))
        chain.settle(epoch, ROWS, chunk_rows=1)
    state = chain.app.state
    for table in (REPORTS, CHUNKS, CURSORS, MINTED):
        assert not list(state.items(table))
    assert list(state.items(DUTIES)) == [((REPORTER.address,), Duty(3, 1, 0))]
    assert {epoch for (_, epoch, _), _ in state.items(PAGES)} == {2, 3}
    assert [epoch for (_, epoch), _ in state.items(ISSUANCES)] == [0, 1, 2, 3]


EPOCHS = st.lists(
    st.dictionaries(
        st.integers(0, 9).map(gateway),
        st.tuples(
            st.none() | st.integers(0, FULL), st.none() | st.sampled_from([0, 1, 720_720, 10**9])
        ),
        max_size=10,
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40)
@given(EPOCHS, st.integers(1, 5), st.integers(1, 4))
def test_settling_is_the_same_however_it_falls_into_blocks(epochs, settle_rows, chunk_rows):
    chains = []
    for rows in (settle_rows, 1 << 20):
        chain = Chain(**mixed(limits={"settle_rows": rows}))
        chain.register(*((n, owner) for n, owner in enumerate([*OWNERS, BOB.address], 1)))
        for epoch, content in enumerate(epochs):
            chain.settle(epoch, content, metrics=METRICS_OF["main"], chunk_rows=chunk_rows)
        chains.append(chain)
    small, large = chains
    for table in (ACCOUNTS, STREAMS, ISSUANCES, SCOPES, GATEWAYS, PAGES):
        assert list(small.app.state.items(table)) == list(large.app.state.items(table))
    assert small.receipts == large.receipts
    assert supply(small.app.state) == supply(large.app.state)


def test_small_pages_cost_no_search_for_streams_each(monkeypatch):
    """With 60 streams and pages of one row this once made a block of half a minute."""
    searches = []
    monkeypatch.setattr(
        "dii.application.streams.current",
        lambda *where: searches.append(chain.time) or current(*where),
    )
    chain = Chain(streams=[stream(f"s{number}") for number in range(3)])
    chain.settle(0, {gateway(number): [FULL] for number in range(1, 50)}, chunk_rows=1)
    assert chain.issuance(0, "s2").count == 49
    assert len(searches) == 1


def test_a_block_stops_settling_at_the_page_that_spends_its_rows():
    chain = Chain(limits={"settle_rows": 3})
    rows = {gateway(number): [FULL] for number in range(1, 31)}
    chain.settle(0, rows, chunk_rows=2)
    worked = [len(result.rows.get("receipts", [])) for result in chain.blocks]
    assert max(worked) <= 3 + 1
    assert sum(worked) == 30
    assert sum(map(bool, worked)) >= 30 // 4
