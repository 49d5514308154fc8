"""Reports of several reporters: quorums, medians, liars and late chunks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii.application import epochs
from dii.application.actions import SetScope
from dii.application.records import (
    ACCOUNTS,
    CHAIN,
    CHUNKS,
    CURSORS,
    DUTIES,
    EPOCH_PAGES,
    ISSUANCES,
    PAGES,
    PROGRESS,
    REPORTS,
    SCOPES,
    TABLES,
    USAGE_PAGES,
)
from dii.errors import BadReport, DuplicateReport, EpochNotReportable
from dii.genesis import TREASURY
from dii.minting import ReceiptLeaf, Uptime
from tests.application import (
    FOUR,
    FULL,
    METRICS_OF,
    ROWS,
    WINDOW,
    amounts,
    epoch_end,
    medians,
    says,
    several,
)
from tests.chains import (
    ALICE,
    BOB,
    REPORTER,
    REPORTERS,
    THIEF,
    Chain,
    gateway,
    report,
    scope,
    stream,
)


def test_settling_begins_with_all_reports_or_after_the_window_with_two_thirds():
    chain = several(gas_price=0)
    chain.block(time=epoch_end(0))
    for who in REPORTERS[:3]:
        assert says(chain, who, *report(0, ROWS)) == [0, 0]
    assert chain.settled() == 0
    chain.block(time=epoch_end(0) + WINDOW - 1)
    assert chain.settled() == 0
    chain.block(time=epoch_end(0) + WINDOW)
    assert chain.settled() == 1
    assert says(chain, REPORTERS[3], *report(0, ROWS)) == [EpochNotReportable.code] * 2
    chain.block(time=epoch_end(1))
    for who in REPORTERS[:4]:
        says(chain, who, *report(1, ROWS))
    assert chain.settled() == 2
    chain.block(time=epoch_end(2))
    for who in REPORTERS[:2]:
        says(chain, who, *report(2, ROWS))
    chain.block(time=epoch_end(9))
    assert chain.settled() == 2, "no pay without a quorum"


def test_a_second_and_a_third_report_count_for_nothing():
    chain = several(gas_price=0)
    chain.block(time=epoch_end(0))
    says(chain, REPORTERS[0], *report(0, ROWS))
    for _ in range(2):
        lie = report(0, {gateway(9): [FULL]})
        assert says(chain, REPORTERS[0], *lie) == [DuplicateReport.code] * 2
    for who in REPORTERS[1:3]:
        says(chain, who, *report(0, ROWS))
    chain.block(time=epoch_end(0) + WINDOW)
    assert chain.settled() == 1
    assert amounts(chain, 0).keys() == {1, 2, 3, 4}


def test_a_liar_pays_nobody_whom_no_honest_reporter_has_seen_and_takes_from_nobody():
    chain = several()
    chain.block(time=epoch_end(0))
    for who in REPORTERS[:3]:
        says(chain, who, *report(0, {gateway(1): [FULL], gateway(3): [None], gateway(4): [0]}))
    says(chain, REPORTERS[3], *report(0, {gateway(n): [FULL] for n in (0, 2, 3, 4, 5)}))
    assert amounts(chain, 0) == {1: (TREASURY, 1_000), 3: (TREASURY, 0), 4: (TREASURY, 0)}


@pytest.mark.parametrize("absent", [0, 1])
def test_report_chunks_that_never_finish_hold_up_nobody_and_are_dropped(absent):
    chain = several(limits={"settle_rows": 5})
    chain.block(time=epoch_end(0))
    many = {gateway(number): [1] for number in range(1, 100)}
    assert says(chain, REPORTERS[absent], *report(0, many, chunk_rows=1)[:-1]) == [0] * 99
    for who in REPORTERS[:4]:
        if who is not REPORTERS[absent]:
            says(chain, who, *report(0, ROWS))
    chain.block(time=epoch_end(0) + WINDOW)
    while chain.block().changed:
        pass
    assert chain.settled() == 1
    assert len(amounts(chain, 0)) == 4
    chain.block(time=epoch_end(1))
    for who in REPORTERS[:4]:
        says(chain, who, *report(1, ROWS))
    left = [
        len(list(chain.app.state.items(CHUNKS))) for _ in iter(lambda: chain.block().changed, False)
    ]
    assert chain.settled() == 2
    assert max(a - b for a, b in pairwise(left)) <= 5 + 2, "a block drops few"
    for table in (CHUNKS, REPORTS, PROGRESS):
        assert not list(chain.app.state.items(table))


@pytest.mark.parametrize("closed", [False, True])
def test_chunks_that_come_after_settling_began_are_free_and_change_no_epoch(closed):
    chain = several(limits={"settle_rows": 1})
    chain.block(time=epoch_end(0))
    many = {gateway(number): [number] for number in range(1, 9)}
    manifest, *chunks = report(0, many, chunk_rows=1)
    says(chain, REPORTERS[0], manifest, *chunks[:2])
    for who in REPORTERS[1:4]:
        says(chain, who, *report(0, ROWS))
    chain.block(time=epoch_end(0) + WINDOW)
    assert (
        epochs.status(chain.app.state, chain.app.state.require(CHAIN), "main", 0, chain.time)
        == "settling"
    )
    while closed and chain.block().changed:
        pass
    assert chain.settled() == closed
    assert says(chain, REPORTERS[0], *chunks[2:]) == [0] * 6
    failing = [manifest, chunks[-1], *chunks[:1]]
    codes = [EpochNotReportable.code, DuplicateReport.code, DuplicateReport.code]
    assert says(chain, REPORTERS[0], *failing) == codes
    while chain.block().changed:
        pass
    assert amounts(chain, 0).keys() == {1, 2, 3, 4}
    chain.block(time=epoch_end(1))
    for who in REPORTERS[:4]:
        says(chain, who, *report(1, ROWS))
    while chain.block().changed:
        pass
    assert chain.settled() == 2
    for table in (CHUNKS, REPORTS, PROGRESS):
        assert not list(chain.app.state.items(table))
    assert says(chain, REPORTERS[0], chunks[-1]) == [EpochNotReportable.code]


@pytest.mark.parametrize("lie", ["rows", "chunks", "order", "usage"])
def test_a_manifest_that_lies_is_never_whole(lie):
    usage = ("delivered",)
    scopes = [scope(reporters=FOUR, usage=usage)]
    chain = Chain(scopes=scopes)
    chain.block(time=epoch_end(0))
    used = {number.to_bytes(40): [number] for number in range(1, 5)}
    how = {"chunk_rows": 2, "usage": used, "usage_columns": usage}
    manifest, *chunks = report(0, ROWS, **how)
    lies = {
        "rows": replace(manifest, rows=5),
        "chunks": replace(manifest, rows=6, chunks=(*manifest.chunks, bytes(32))),
        "order": replace(manifest, chunks=manifest.chunks[::-1]),
        "usage": replace(manifest, usage_rows=3),
    }
    says(chain, REPORTERS[3], lies[lie], *chunks)
    found = chain.app.state.get(SCOPES, "main")
    assert REPORTERS[3].address not in epochs.whole_reports(chain.app.state, "main", found)
    for who in REPORTERS[:3]:
        assert set(says(chain, who, *report(0, ROWS, **how))) == {0}
    assert chain.settled() == 0
    chain.block(time=epoch_end(0) + WINDOW)
    assert chain.settled() == 1
    assert len(amounts(chain, 0)) == 4


def test_reports_of_an_epoch_in_a_billion_years_leave_nothing():
    chain = several()
    chain.block(time=epoch_end(0))
    kept = {table.name: list(chain.app.state.items(table)) for table in TABLES}
    for epoch in (10**9, 2**64 - 1):
        codes = says(chain, REPORTERS[0], report(epoch, ROWS)[0])
        assert codes == [EpochNotReportable.code]
    for table in set(TABLES) - {ACCOUNTS, DUTIES}:  # where a nonce and a failure are counted
        assert list(chain.app.state.items(table)) == kept[table.name]


def test_a_scope_that_reports_absurd_values_or_never_again_holds_up_no_pay_of_others():
    """Reporters send the most data in the smallest pieces allowed; other scopes go on settling."""
    scopes = [scope("absurd", reporters=FOUR), scope("good"), scope("silent", reporters=[THIEF])]
    streams = [
        stream("a", scope="absurd"), stream("g", scope="good"), stream("s", scope="silent"),
    ]  # fmt: skip
    chain = Chain(
        scopes=scopes, streams=streams, limits={"settle_rows": 60, "max_rows": 400}, gas_price=0
    )
    chain.block(time=epoch_end(0))
    for liar in FOUR:
        rows = {
            sha256(liar.address + bytes([n % 256, n >> 8])).digest()[:20]: [FULL]
            for n in range(400)
        }
        chain.do(liar, *report(0, rows, scope="absurd", chunk_rows=1))
    assert chain.app.state.get(CURSORS, "absurd") is not None
    before = len(chain.blocks)
    chain.do(REPORTER, *report(0, ROWS, scope="good"))
    while not chain.settled("good"):
        chain.block()
    assert len(chain.blocks) - before <= 4
    assert chain.issuance(0, "g").paid == 1_000
    assert chain.settled("absurd") == 0, "its settling goes on"
    while chain.block().changed:
        pass
    assert chain.settled("absurd") == 1
    assert chain.issuance(0, "a").count == 0, "no name is vouched for by two"
    assert chain.settled("silent") == 0


def test_many_scopes_settle_side_by_side_however_few_rows_a_block_does():
    names = [f"s{number:02}" for number in range(20)]
    chain = Chain(
        scopes=[scope(name) for name in names],
        streams=[stream(name, scope=name) for name in names],
        limits={"settle_rows": 10},
    )
    rows = {gateway(number): [FULL] for number in range(1, 9)}
    messages = [m for name in names for m in report(0, rows, scope=name, chunk_rows=2)]
    chain.do(REPORTER, *messages, time=epoch_end(0))
    worked: Counter[int] = Counter()
    while chain.block().changed:
        worked[len(chain.blocks[-1].rows.get("receipts", []))] += 1
        closed = [chain.settled(name) for name in names]
        if any(closed):  # all are about as far: none has waited for another to be done
            left = [chain.app.state.get(CURSORS, name) for name in names]
            assert all(one is None or one.phase in {"receipts", "clear", "weights"} for one in left)
    assert max(worked) <= 4
    assert all(chain.settled(name) for name in names)


# Reports of seven, two of whom lie; the rows of the honest are near each other.
SEVEN = REPORTERS[:7]
HONEST_ROWS = st.lists(
    st.dictionaries(
        st.integers(0, 5).map(gateway), st.tuples(st.none() | st.integers(0, 9), st.integers(0, 9)),
        max_size=6,
    ),
    min_size=5, max_size=5,
)  # fmt: skip
LYING_ROWS = st.lists(
    st.dictionaries(
        st.integers(0, 7).map(gateway),
        st.tuples(st.sampled_from([None, 0, 5, FULL]), st.sampled_from([None, 0, 5, 10**9])),
        max_size=8,
    ),
    max_size=2,
)


@settings(max_examples=60)
@given(HONEST_ROWS, LYING_ROWS, st.integers(1, 3), st.integers(1, 40))
def test_liars_move_no_metric_outside_the_range_of_what_the_honest_say(
    honest, lying, chunk_rows, settle_rows
):
    metrics = METRICS_OF["main"]
    chain = Chain(
        scopes=[scope(metrics=metrics, reporters=SEVEN)], limits={"settle_rows": settle_rows}
    )
    said = [*lying, *honest]
    chain.block(time=epoch_end(0))
    for who, rows in zip(SEVEN, said):
        says(chain, who, *report(0, rows, metrics=metrics, chunk_rows=chunk_rows))
    chain.block(time=epoch_end(0) + WINDOW)
    while chain.block().changed:
        pass
    found = {leaf.gateway: leaf.values for leaf in chain.receipts["main", 0]}
    assert found == dict(medians(said, 2))
    for name in {key for rows in said for key in rows}:
        for column in range(2):
            values = [rows.get(name, (0, 0))[column] for rows in honest]
            ranks = [-1 if value is None else value for value in values]
            value = found.get(name, (0, 0))[column]
            assert min(ranks) <= (-1 if value is None else value) <= max(ranks)


SAID = st.lists(
    st.dictionaries(
        st.integers(0, 30), st.sampled_from([None, 0, 1, 2, 3]), min_size=0, max_size=30
    ),
    min_size=1, max_size=3,
)  # fmt: skip


def merged(
    said: list[dict[int, int | None]], pieces: list[int], settle_rows: int
) -> tuple[list[object], list[ReceiptLeaf]]:
    """Return the stored pages of four reports with chunks of some rows, and the receipts."""
    chain = Chain(
        scopes=[scope(reporters=FOUR, usage=("lost",))], limits={"settle_rows": settle_rows}
    )
    chain.block(time=epoch_end(0))
    for who, rows, piece in zip(FOUR, said, pieces):
        metrics = {gateway(key): [value] for key, value in rows.items()}
        used = {key.to_bytes(40): [value] for key, value in rows.items()}
        how = {"chunk_rows": piece, "usage": used, "usage_columns": ("lost",)}
        assert set(says(chain, who, *report(0, metrics, **how))) == {0}
    while chain.block().changed:
        pass
    assert chain.settled() == 1
    tables = (PAGES, USAGE_PAGES, EPOCH_PAGES, ISSUANCES)
    return [list(chain.app.state.items(table)) for table in tables], chain.receipts["main", 0]


@settings(max_examples=40)
@given(SAID, st.lists(st.integers(0, 2), min_size=4, max_size=4), st.data())
def test_merging_of_reports_is_the_same_however_it_falls_into_blocks(said, which, data):
    """The same holds where chunks are equal, and pages are moved instead of merged."""
    sizes = [data.draw(st.sampled_from([1, 2, 2, 5])) for _ in said]
    chosen = [number % len(said) for number in which]
    four, pieces = [said[n] for n in chosen], [sizes[n] for n in chosen]
    small = merged(four, pieces, data.draw(st.integers(1, 60)))
    assert small == merged(four, pieces, 1 << 20)
    expected = medians([{gateway(k): (v,) for k, v in rows.items()} for rows in four], 1)
    assert [(leaf.gateway, leaf.values) for leaf in small[1]] == expected


@pytest.mark.parametrize("liar", range(4))
def test_rows_that_a_liar_adds_before_a_common_chunk_change_no_page(liar):
    honest = {key: key for key in range(10, 20)}
    lie = honest | dict.fromkeys(range(12, 20), 0)
    without, said = (
        [one if n == liar else honest for n in range(4)] for one in (lie, lie | {0: 1, 1: 1})
    )
    plain = merged(without, [2] * 4, 1 << 20)
    for settle_rows in (1, 9, 20, 40, 1 << 20):
        assert merged(said, [2] * 4, settle_rows) == plain


def test_all_reports_together_make_no_more_rows_than_one_may_have():
    """Rules are checked against as many rows as a report may have: sums stay below 2**63."""
    chain = several(limits={"max_rows": 4})
    chain.block(time=epoch_end(0))
    for number, who in enumerate(FOUR):
        rows = {gateway(one): [FULL] for one in ((1, 2), (3, 4))[number // 2] + (10, 11)}
        assert set(says(chain, who, *report(0, rows, chunk_rows=2))) == {0}
    assert amounts(chain, 0).keys() == {1, 2, 3, 4}


def test_metrics_and_usage_of_two_settled_epochs_can_be_looked_up():
    usage = ("delivered", "lost")
    chain = Chain(scopes=[scope(metrics=METRICS_OF["main"], usage=usage)], streams=[])
    operator = ALICE.address
    for epoch in range(4):
        rows = {gateway(number): (number, None) for number in range(1, 40, 2)}
        used = {gateway(number) + operator: (number, epoch) for number in range(2, 60, 3)}
        chain.settle(
            epoch, rows, metrics=METRICS_OF["main"], chunk_rows=7, usage=used, usage_columns=usage
        )
    state = chain.app.state
    for epoch in range(5):
        kept = epoch in (2, 3)
        assert (state.get(EPOCH_PAGES, "main", epoch) is not None) == kept
        for number in range(42):
            wanted = {"online_ppm": number, "shapley_uplinks": None}
            found = epochs.lookup(state, PAGES, "main", epoch, gateway(number))
            assert found == (wanted if kept and number % 2 and number < 40 else None)
        for number in range(62):
            found = epochs.lookup(state, USAGE_PAGES, "main", epoch, gateway(number) + operator)
            there = kept and number % 3 == 2 and number < 60
            assert found == ({"delivered": number, "lost": epoch} if there else None)
        assert epochs.lookup(state, USAGE_PAGES, "main", epoch, gateway(2) + BOB.address) is None
    assert {epoch for (_, epoch, _), _ in state.items(USAGE_PAGES)} == {2, 3}
    assert {epoch for (_, epoch), _ in state.items(EPOCH_PAGES)} == {2, 3}


def test_a_scope_that_is_changed_takes_reports_by_its_new_reporters_on_its_new_metrics():
    chain = several(streams=[stream(rule=Uptime(1))])
    chain.block(time=epoch_end(0))
    for who in REPORTERS[:3]:
        says(chain, who, *report(0, ROWS))
    metrics = METRICS_OF["main"]
    new = tuple(key.address for key in REPORTERS[1:5])
    epochs.change_scope(chain.app.state, SetScope("main", new, ("online_ppm",), ()))
    chain.app.state.commit()
    chain.block(time=epoch_end(1))
    assert chain.settled() == 0, "one of the three is a reporter no more"
    assert says(chain, REPORTERS[0], report(1, ROWS)[0]) != [0]
    epochs.change_scope(chain.app.state, SetScope("main", new, metrics, ("lost",)))
    chain.app.state.commit()
    rows = {one: (*values, 7) for one, values in ROWS.items()}
    how = {"metrics": metrics, "usage_columns": ("lost",)}
    assert says(chain, REPORTERS[1], report(0, ROWS)[1]) == [BadReport.code]
    for who in REPORTERS[1:4]:
        assert says(chain, who, *report(0, rows, **how)) == [0, 0], "once more for nothing"
    chain.block()
    assert chain.settled() == 1
    assert chain.receipts["main", 0][0].values == (FULL, 7)
    for who in REPORTERS[1:4]:
        assert says(chain, who, *report(1, rows, **how)) == [0, 0]
    chain.block(time=epoch_end(1) + WINDOW)
    assert chain.settled() == 2
    assert not list(chain.app.state.items(REPORTS)), "nor what the former reporter left"


def test_a_scope_that_is_changed_while_an_epoch_settles_closes_it_as_it_was():
    chain = several(limits={"settle_rows": 1})
    chain.block(time=epoch_end(1))
    for who in FOUR:
        says(chain, who, *report(0, ROWS, chunk_rows=1))
    assert chain.app.state.get(CURSORS, "main") is not None
    epochs.change_scope(chain.app.state, SetScope("main", (BOB.address,), METRICS_OF["main"], ()))
    chain.app.state.commit()
    assert chain.app.state.get(SCOPES, "main").metrics == ("online_ppm",)
    while chain.block().changed:
        pass
    assert chain.issuance(0).metrics == ("online_ppm",)
    found = chain.app.state.get(SCOPES, "main")
    assert (found.reporters, found.metrics, found.next_epoch) == (
        (BOB.address,), METRICS_OF["main"], 1,
    )  # fmt: skip
