"""Tables, journal and diffs against a plain dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from dii import codec
from dii.codec import Amount
from dii.errors import CodecError, LedgerError, ProofInvalid, ShapeMismatch
from dii.ledger.state import Diff, State, Table, decode_diff, encode_diff
from dii.ledger.tree import EMPTY_ROOT, Tree, verify_absence, verify_inclusion


@dataclass(frozen=True, slots=True)
class Account:
    balance: Amount
    nonce: int


@dataclass(frozen=True, slots=True)
class Page:
    cells: tuple[int, ...]


ACCOUNTS = Table("account", Account)
PAGES = Table("page", Page)
# A name that is the beginning of another's must not mix up their rows.
PAG = Table("pag", tuple[int, ...])
"""Of bare values."""
TABLES: dict[str, Table[object]] = {table.name: table for table in (ACCOUNTS, PAGES, PAG)}

Model = dict[bytes, object]

ADDRESS = st.sampled_from([b"a" * 20, b"b" * 20, b"", b"\xff" * 40])
PLACES = st.one_of(
    st.tuples(st.just(ACCOUNTS), st.tuples(ADDRESS)),
    st.tuples(
        st.sampled_from([PAGES, PAG]),
        st.tuples(st.sampled_from([0, 24, 2**40]), st.sampled_from("ab")),
    ),
)


def record_of(table: Table[object], number: int) -> object:
    cells = number, number
    return Account(*cells) if table is ACCOUNTS else Page(cells) if table is PAGES else cells


def as_pairs(model: Model) -> dict[bytes, bytes]:
    return {key: dumped(record) for key, record in model.items()}


def dumped(record: object) -> bytes:
    return codec.encode(record) if type(record) is tuple else codec.dumps(record)


@contextmanager
def attempt(state: State) -> Iterator[None]:
    """Go back to where it began if it is left by an exception, as a transaction does."""
    mark = state.mark()
    try:
        yield
    except BaseException:
        state.revert(mark)
        raise


class Journal(RuleBasedStateMachine):
    """Any sequence of a block's operations, against dictionaries that are copied in full."""

    marks = Bundle("marks")

    @initialize()
    def begin(self) -> None:
        self.state = State()
        self.committed: Model = {}
        self.now: Model = {}
        self.stack: list[tuple[int, Model]] = []
        self.diffs: list[Diff] = []

    @rule(where=PLACES, number=st.integers(0, 3))
    def put(self, where, number):
        table, parts = where
        record = record_of(table, number)
        self.state.put(table, record, *parts)
        self.now[table.key(*parts)] = record

    @rule(where=PLACES)
    def delete(self, where):
        table, parts = where
        self.state.delete(table, *parts)
        self.now.pop(table.key(*parts), None)

    @rule(where=PLACES)
    def get(self, where):
        table, parts = where
        assert self.state.get(table, *parts) == self.now.get(table.key(*parts))

    @rule(target=marks)
    def mark(self):
        self.stack.append((self.state.mark(), dict(self.now)))
        return len(self.stack) - 1

    @rule(level=consumes(marks))
    def revert(self, level):
        if level < len(self.stack):
            mark, self.now = self.stack[level]
            del self.stack[level:]
            self.state.revert(mark)

    @rule(changes=st.lists(st.tuples(PLACES, st.none() | st.integers(0, 3)), max_size=4))
    def fail_within_nested_attempts(self, changes):
        """The inner attempt fails and is caught, the outer goes on, succeeds or fails."""
        before = dict(self.now)
        with suppress(ArithmeticError), attempt(self.state):
            for (table, parts), number in changes:
                with suppress(LookupError), attempt(self.state):
                    self.state.put(table, record_of(table, 99), *parts)
                    raise LookupError
                assert self.state.get(table, *parts) == self.now.get(table.key(*parts))
                if number is None:
                    self.delete((table, parts))
                else:
                    self.put((table, parts), number)
            raise ArithmeticError
        self.now = before

    @rule(where=PLACES, number=st.integers(0, 3))
    def succeed_within_an_attempt(self, where, number):
        with attempt(self.state):
            self.put(where, number)

    @rule()
    def commit(self):
        expected = self.state.changes()
        assert self.state.commit() == expected
        assert self.state.changes() == ()
        for key in self.committed | self.now:
            name, *parts = codec.decode(key)
            assert self.state.get(TABLES[name], *parts) == self.now.get(key)
        self.diffs.append(expected)
        self.committed = dict(self.now)
        self.stack.clear()

    @rule()
    def discard(self):
        self.state.revert(0)
        self.now = dict(self.committed)
        self.stack.clear()

    @precondition(lambda self: self.now == self.committed)
    @rule()
    def reopen(self):
        """Go on with a state that was made from the stored diffs alone."""
        self.state = State()
        for diff in self.diffs:
            self.state.apply(decode_diff(encode_diff(diff)))
        self.stack.clear()

    @rule(where=PLACES)
    def prove(self, where):
        table, parts = where
        root = Tree().update(as_pairs(self.committed).items()).root
        assert self.state.committed_root == root
        key = table.key(*parts)
        proof = self.state.prove_key(key)
        value = self.state.get_bytes(key)
        if value is None:
            assert key not in self.committed
            verify_absence(root, key, proof)
        else:
            assert value == dumped(self.committed[key])
            verify_inclusion(root, key, value, proof)

    @rule(where=PLACES, length=st.integers(1, 2))
    def items(self, where, length):
        table, parts = where
        prefix = parts[:length]
        expected = [
            (codec.decode(key)[1:], record)
            for key, record in sorted(self.now.items())
            if codec.decode(key)[0] == table.name and codec.decode(key)[1:][:length] == prefix
        ]
        assert list(self.state.items(table, *prefix)) == expected

    @rule(table=st.sampled_from([ACCOUNTS, PAGES, PAG]))
    def touched_pairs_what_was_with_what_is(self, table):
        expected = [
            (self.committed.get(key), self.now.get(key))
            for key in self.committed | self.now
            if codec.decode(key)[0] == table.name and self.committed.get(key) != self.now.get(key)
        ]
        touched = [pair for pair in self.state.touched(table) if pair[0] != pair[1]]
        assert sorted(touched, key=repr) == sorted(expected, key=repr)

    @rule()
    def the_root_is_that_of_the_pairs(self):
        assert self.state.root() == Tree().update(as_pairs(self.now).items()).root

    @invariant()
    def the_changes_lead_from_the_committed_pairs_to_the_present(self):
        if not hasattr(self, "state"):
            return
        old, new = as_pairs(self.committed), as_pairs(self.now)
        assert self.state.changes() == tuple(
            (key, new.get(key)) for key in sorted(old | new) if old.get(key) != new.get(key)
        )

    @invariant()
    def the_items_are_those_of_the_present(self):
        if hasattr(self, "state"):
            for table in TABLES.values():
                self.items((table, ()), 0)


TestJournal = Journal.TestCase
TestJournal.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(st.text(min_size=1, max_size=23), st.lists(st.binary() | st.integers(0, 2**64 - 1)))
def test_a_key_is_the_canonical_array_of_its_table_and_parts(name, parts):
    if len(name.encode()) <= 23:
        assert Table(name, Page).key(*parts[:20]) == codec.encode((name, *parts[:20]))


@pytest.mark.parametrize("size", range(30))
def test_a_key_of_one_byte_string_of_any_length_is_canonical_too(size):
    assert ACCOUNTS.key(bytes(size)) == codec.encode(("account", bytes(size)))


@pytest.mark.parametrize("name", ["", "x" * 24, "é" * 12])
def test_a_table_needs_a_name_of_1_to_23_bytes(name):
    with pytest.raises(ValueError, match="1 to 23 bytes"):
        Table(name, Page)


def test_an_empty_state_has_the_empty_root_and_proves_absence():
    state = State()
    assert state.root() == EMPTY_ROOT
    assert state.changes() == state.commit() == ()
    assert state.get_bytes(b"") is state.get_bytes(b"\x82") is None
    verify_absence(EMPTY_ROOT, ACCOUNTS.key(b"a"), state.prove_key(ACCOUNTS.key(b"a")))


def test_asking_for_the_root_decides_nothing():
    state = State()
    state.put(ACCOUNTS, Account(1, 0), b"a")
    tentative = state.root()
    assert tentative != EMPTY_ROOT
    verify_absence(EMPTY_ROOT, ACCOUNTS.key(b"a"), state.prove_key(ACCOUNTS.key(b"a")))
    state.revert(0)
    assert state.root() == EMPTY_ROOT
    state.put(ACCOUNTS, Account(1, 0), b"a")
    assert state.root() == tentative
    state.commit()
    proof, value = state.prove_key(ACCOUNTS.key(b"a")), codec.dumps(Account(1, 0))
    verify_inclusion(tentative, ACCOUNTS.key(b"a"), value, proof)
    with pytest.raises(ProofInvalid):
        verify_absence(tentative, ACCOUNTS.key(b"a"), proof)


def test_a_value_that_comes_back_is_no_change():
    state = State()
    state.put(ACCOUNTS, Account(1, 0), b"a")
    state.commit()
    state.put(ACCOUNTS, Account(2, 0), b"a")
    state.put(ACCOUNTS, Account(1, 0), b"a")
    state.put(ACCOUNTS, Account(5, 0), b"b")
    state.delete(ACCOUNTS, b"b")
    state.delete(ACCOUNTS, b"never there")
    assert state.changes() == ()


def test_items_may_be_changed_while_they_are_gone_through():
    state = State()
    for number in range(6):
        state.put(PAGES, Page((number,)), number, "x")
    state.commit()
    seen = []
    for (number, _), record in state.items(PAGES):
        seen.append(record.cells)
        state.delete(PAGES, number, "x")
        if number == 0:
            state.delete(PAGES, 3, "x")
            state.put(PAGES, Page((40,)), 4, "x")
            state.put(PAGES, Page((7,)), 7, "x")
    assert seen == [(0,), (1,), (2,), (40,), (5,)]
    assert [parts for parts, _ in state.items(PAGES)] == [(7, "x")]


def test_numbers_in_keys_come_in_ascending_order():
    state = State()
    numbers = [2**63, 65536, 65535, 256, 255, 24, 23, 1, 0]
    for number in numbers:
        state.put(PAGES, Page(()), number)
    state.commit()
    assert [parts for parts, _ in state.items(PAGES)] == [(number,) for number in numbers[::-1]]


def test_an_attempt_left_by_an_interrupt_reverts_too():
    state = State()
    with suppress(KeyboardInterrupt), attempt(state):
        state.put(ACCOUNTS, Account(1, 0), b"a")
        raise KeyboardInterrupt
    assert state.get(ACCOUNTS, b"a") is None
    assert state.changes() == ()


def test_a_block_cannot_be_replayed_over_pending_changes():
    state = State()
    state.put(ACCOUNTS, Account(1, 0), b"a")
    with pytest.raises(LedgerError, match="pending"):
        state.apply(())


def test_replayed_records_replace_what_was_read_before():
    state, other = State(), State()
    other.put(ACCOUNTS, Account(1, 0), b"a")
    assert state.get(ACCOUNTS, b"a") is None
    assert state.root() == EMPTY_ROOT
    state.apply(other.commit())
    assert state.get(ACCOUNTS, b"a") == Account(1, 0)
    assert state.root() == other.root()
    for copy in (state, other):
        copy.put(ACCOUNTS, Account(2, 0), b"a")
    assert state.commit() == other.commit()
    other.delete(ACCOUNTS, b"a")
    state.apply(other.commit())
    assert state.get(ACCOUNTS, b"a") is None
    assert state.root() == other.root() == EMPTY_ROOT


def test_more_records_than_the_cache_holds_stay_readable(monkeypatch):
    monkeypatch.setattr("dii.ledger.state.MAX_CACHE", 10)
    state = State()
    for block in range(3):
        for number in range(30):
            state.put(PAGES, Page((block, number)), number)
        state.commit()
    assert [state.get(PAGES, number) for number in range(30)] == [
        Page((2, number)) for number in range(30)
    ]


def test_however_much_a_block_asks_for_that_is_not_there_little_of_it_stays_in_memory(monkeypatch):
    monkeypatch.setattr("dii.ledger.state.MAX_CACHE", 10)
    state = State()
    assert not any(state.get(PAGES, number) for number in range(1_000))
    assert len(state._tables[PAGES.prefix].cache) <= 10


DIFF = st.dictionaries(st.binary(min_size=1, max_size=9), st.none() | st.binary(max_size=9)).map(
    lambda changes: tuple(sorted(changes.items()))
)


@given(DIFF)
def test_a_diff_comes_back_from_its_bytes(diff):
    assert decode_diff(encode_diff(diff)) == diff


@pytest.mark.parametrize(
    "items",
    [
        (b"a",),
        (b"a", b"1", b"a", b"2"),
        (b"b", b"1", b"a", b"2"),
        (b"", b"1"),
        ("a", b"1"),
        (b"a", "1"),
        (b"a", 1),
        (b"a", False),
        ((b"a", b"1"),),
        b"a",
        None,
    ],
)
def test_bytes_that_are_no_diff_are_refused(items):
    with pytest.raises(ShapeMismatch):
        decode_diff(codec.encode(items))


@given(DIFF, st.data())
def test_a_diff_cut_short_or_prolonged_is_refused(diff, data):
    encoded = encode_diff(diff)
    with pytest.raises(CodecError):
        decode_diff(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
    with pytest.raises(CodecError):
        decode_diff(encoded + b"\0")
