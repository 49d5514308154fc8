"""A chain on disk: reopened, remade, damaged, locked, read while written, and cut off."""

from __future__ import annotations

import gc
import shutil
import signal
import sqlite3
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dii import codec
from dii.application import Application
from dii.application.messages import Burn, Claim, RegisterGateways, Transfer
from dii.application.records import ACCOUNTS, SCOPES
from dii.consensus.node import CHAIN_FILE, INDEX_FILE, Node, verify
from dii.consensus.solo import Solo
from dii.crypto import SigningKey, claim_address, sha256
from dii.errors import (
    BlockDamaged,
    BlockInvalid,
    DiiError,
    IndexFull,
    IndexMissing,
    StoreBroken,
    StoreLocked,
    WrongChain,
)
from dii.ledger import log
from dii.ledger.block import PREVOTE, Block, Commit, Evidence, Header, root_of
from dii.ledger.index import TABLES, Index
from dii.ledger.reader import Reader
from dii.ledger.state import decode_diff, encode_diff
from dii.ledger.store import Store, connect
from tests.chains import (
    ALICE,
    BOB,
    EPOCH,
    REPORTER,
    START,
    THIEF,
    VALIDATOR,
    gateway,
    genesis,
    report,
    sign,
)
from tests.decided import accuse, precommits
from tests.require import ROOT

GENESIS = genesis()
OTHER = genesis(gas_price=2)
OPERATOR = bytes([0xC0]) * 20


def steps() -> Iterator[tuple[list[bytes], int | None]]:
    """Yield (transactions, time) of a short chain's blocks: transfers, two epochs, a failure."""
    chain = GENESIS.hash

    def one(key: SigningKey, nonce: int, message: object) -> bytes:
        return sign(chain, key, nonce, message)

    bindings = tuple((gateway(number), BOB.address) for number in range(1, 6))
    yield [one(ALICE, 0, Transfer(BOB.address, 5)), one(ALICE, 1, Burn(7))], None
    yield [one(REPORTER, 0, RegisterGateways("main", bindings))], None
    yield [one(REPORTER, 1, Claim("main", OPERATOR, ALICE.public_key))], None
    yield [], None
    nonce = 2
    for epoch in range(2):
        rows = {gateway(number): [1_000 * number] for number in range(8)}
        messages = report(epoch, rows, chunk_rows=3)
        wires = [one(REPORTER, nonce + at, message) for at, message in enumerate(messages)]
        nonce += len(wires)
        yield wires, START + (epoch + 1) * EPOCH
        yield [one(BOB, epoch, Transfer(claim_address("main", OPERATOR), 10**10))], None
    yield [one(THIEF, 0, Transfer(ALICE.address, 1)), b"no transaction"], None
    yield [], None


STEPS = list(steps())


def extend(node: Node, first: int = 0, last: int = len(STEPS)) -> None:
    """Add the blocks of some steps."""
    solo = Solo(node, VALIDATOR)
    for wires, time in STEPS[first:last]:
        solo.produce(wires, time)


@contextmanager
def opened(home: Path) -> Iterator[Node]:
    with closing(Node(GENESIS, home)) as node:
        yield node


def tables(index: Index) -> dict[str, list[tuple[object, ...]]]:
    """Return everything in an index."""
    return {name: index.query(f"SELECT * FROM {name} ORDER BY rowid") for name in TABLES}


def up_to(height: int, index: Index) -> dict[str, list[tuple[object, ...]]]:
    """Return everything in an index up to a height."""
    return {name: [row for row in rows if row[0] <= height] for name, rows in tables(index).items()}


def contents(node: Node) -> tuple[object, ...]:
    """Return all that a node knows."""
    return node.height, node.header, node.state.committed_root, tables(node.index)


@pytest.fixture(scope="module")
def whole() -> Iterator[Node]:
    """The chain of all steps, in memory."""
    with closing(Node(GENESIS)) as node:
        extend(node)
        yield node


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the chain of all steps."""
    home = tmp_path_factory.mktemp("original")
    with opened(home) as node:
        extend(node)
    return home


@pytest.fixture
def home(original: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "home"))


@contextmanager
def tampering(home: Path, file: str = CHAIN_FILE) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(home / file)) as db, db:
        yield db


def check(home: Path) -> None:
    """Verify a chain as another process would."""
    with closing(Store(home / CHAIN_FILE, GENESIS.hash, readonly=True)) as store:
        verify(GENESIS, store)


# --- reopening ----------------------------------------------------------------------------------


def test_the_chain_on_disk_is_the_chain_in_memory(original, whole):
    with opened(original) as node:
        assert contents(node) == contents(whole)
        assert node.height == len(STEPS)


@pytest.mark.parametrize("cut", range(len(STEPS) + 1))
def test_a_chain_closed_anywhere_goes_on_as_if_it_had_not_been(tmp_path, whole, cut):
    with opened(tmp_path) as node:
        extend(node, 0, cut)
        before = contents(node)
    with opened(tmp_path) as node:
        assert contents(node) == before
        extend(node, cut)
        assert contents(node) == contents(whole)


def test_a_fresh_home_has_the_genesis_state_and_no_block(tmp_path):
    for _ in range(2):
        with opened(tmp_path) as node:
            assert (node.height, node.header) == (0, None)
            assert node.state.get(ACCOUNTS, ALICE.address) is not None


def test_time_goes_on_from_the_last_block(home):
    with opened(home) as node:
        last = node.header.time
        Solo(node, VALIDATOR).produce(time=last - EPOCH)
        assert node.header.time > last


def test_settle_ends_with_a_header_that_carries_the_state(tmp_path):
    with opened(tmp_path) as node:
        extend(node, 0, 5)
        Solo(node, VALIDATOR).settle()
        assert node.header.app_hash == node.state.committed_root


# --- the index ----------------------------------------------------------------------------------


@pytest.fixture
def old_index(tmp_path: Path) -> Path:
    """The index as it was after four blocks."""
    folder = tmp_path / "old"
    folder.mkdir()
    with opened(folder) as node:
        extend(node, 0, 4)
    return folder / INDEX_FILE


def test_a_deleted_index_is_made_again(home, whole):
    (home / INDEX_FILE).unlink()
    with opened(home) as node:
        assert contents(node) == contents(whole)


def test_an_index_that_lags_catches_up(home, old_index, whole):
    shutil.copy(old_index, home / INDEX_FILE)
    with opened(home) as node:
        assert contents(node) == contents(whole)


def test_an_index_ahead_of_its_chain_is_made_again(original, tmp_path):
    with opened(tmp_path) as node:
        extend(node, 0, 4)
        expected = contents(node)
    shutil.copy(original / INDEX_FILE, tmp_path / INDEX_FILE)
    with opened(tmp_path) as node:
        assert contents(node) == expected


@pytest.mark.parametrize("size", [0, 100, 5_000])
@pytest.mark.parametrize("tail", [b"", b"this is no database" * 500])
def test_a_damaged_index_is_made_again(home, whole, size, tail):
    path = home / INDEX_FILE
    path.write_bytes(path.read_bytes()[:size] + tail)
    with opened(home) as node:
        assert contents(node) == contents(whole)


def test_damage_that_shows_only_when_it_is_read_is_a_named_error_and_rebuilding_mends_it(
    home, whole
):
    path = home / INDEX_FILE
    path.write_bytes(path.read_bytes()[:4096] + bytes(path.stat().st_size - 4096))
    with tampering(home, INDEX_FILE) as db:
        (root,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'progress'"
        ).fetchone()
    with path.open("r+b") as file, closing(Index(None)) as sound:
        sound.put(len(STEPS), {})
        sound.flush()
        page = bytes(sound.db.serialize()[4096 * (root - 1) : 4096 * root])
        file.seek(4096 * (root - 1))
        file.write(page)
    with opened(home) as node:
        with pytest.raises(IndexMissing, match="dii rebuild"):
            tables(node.index)
        node.rebuild()
        assert contents(node) == contents(whole)


def test_an_index_of_another_format_is_made_again(home, whole):
    with tampering(home, INDEX_FILE) as db:
        db.execute("UPDATE progress SET format = 99")
        db.execute("DELETE FROM transfers")
    with opened(home) as node:
        assert contents(node) == contents(whole)


def test_rows_that_a_power_cut_left_beyond_the_progress_do_no_harm(home, whole):
    """The index does not wait for the disk, so a power cut may leave it inconsistent."""
    with tampering(home, INDEX_FILE) as db:
        db.execute("UPDATE progress SET height = 3")
    with opened(home) as node:
        assert contents(node) == contents(whole)


def test_rebuilding_gives_the_same_tables_also_while_rows_are_buffered(tmp_path, whole):
    with opened(tmp_path) as node:
        extend(node)
        node.rebuild()
        assert contents(node) == contents(whole)
        node.rebuild()
        assert contents(node) == contents(whole)


def test_readers_see_the_old_index_until_the_new_one_is_whole(home, whole, monkeypatch):
    expected = tables(whole.index)
    seen = []
    with opened(home) as node:
        once = node._catch_up

        def look(app: Application) -> None:
            once(app)
            with closing(Index(home / INDEX_FILE, readonly=True)) as other:
                seen.append((tables(node.index), tables(other), tables(reader.index)))

        with closing(Reader(home / CHAIN_FILE, home / INDEX_FILE, GENESIS.hash)) as reader:
            node.index.db.execute("DELETE FROM transfers")
            node.index.db.commit()
            old = tables(reader.index)
            assert old != expected
            monkeypatch.setattr(node, "_catch_up", look)
            node.rebuild()
            assert seen[0] == (expected, old, old)
            assert tables(reader.index) == expected


def test_a_rebuilding_that_is_interrupted_leaves_everything_as_it_was(home, whole, monkeypatch):
    with opened(home) as node:
        left = iter(range(5))

        def interrupted(height: int, rows: object) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            Index.put(node.index, height, rows)

        monkeypatch.setattr(node.index, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            node.rebuild()
        monkeypatch.undo()
        assert contents(node) == contents(whole)
        Solo(node, VALIDATOR).produce()
        assert node.height == len(STEPS) + 1
    check(home)


def test_long_texts_do_not_wait_in_memory_for_many_rows():
    with closing(Index(None)) as index:
        for height in range(1, 4):
            row = (0, bytes(20), True, "told", 10_000 * "x")
            index.put(height, {"events": [row] * 1_000})
            (written,) = index.db.execute("SELECT count(*) FROM events").fetchone()
            assert written == 2_000 * (height // 2)


def test_a_reader_goes_over_to_the_index_that_replaced_a_damaged_one(home, whole):
    with closing(Reader(home / CHAIN_FILE, home / INDEX_FILE, GENESIS.hash)) as reader:
        (home / INDEX_FILE).rename(home / "old")
        reader.refresh()
        (home / INDEX_FILE).write_bytes(b"no database" * 1_000)
        with opened(home):
            reader.refresh()
            assert tables(reader.index) == up_to(reader.height, whole.index)
            query = "SELECT file FROM pragma_database_list WHERE name != 'temp'"
            ((name,),) = reader.index.query(query)
            assert Path(name).name == INDEX_FILE


def test_rows_that_could_not_be_written_are_written_later(tmp_path, whole):
    with opened(tmp_path) as node:
        extend(node, 0, 3)
        node.index.flush()
        (pages,) = node.index.db.execute("PRAGMA page_count").fetchone()
        node.index.db.execute(f"PRAGMA max_page_count = {pages}")
        extend(node, 3)
        node.index.put(node.height, {"transfers": [(0, "x" * 100_000, b"", b"", 0)]})
        with pytest.raises(IndexFull, match="make room on its disk"):
            node.index.flush()
        node.index.db.execute("PRAGMA max_page_count = 1000000")
        (transfers, expected) = (tables(one.index)["transfers"] for one in (node, whole))
        assert transfers[:-1] == expected
        for name in TABLES.keys() - {"transfers"}:
            assert tables(node.index)[name] == tables(whole.index)[name]


# --- verify -------------------------------------------------------------------------------------


def test_a_sound_chain_verifies(home, whole):
    with closing(Store(home / CHAIN_FILE, GENESIS.hash, readonly=True)) as store:
        heights: list[int] = []
        found = verify(GENESIS, store, heights.append)
    assert heights == list(range(1, len(STEPS) + 1))
    assert found.height == len(STEPS)
    assert found.app_hash == whole.state.committed_root
    assert found.transactions == sum(len(wires) for wires, _ in STEPS) - 1
    assert found.burned == 7


PARTS = "root", "diff", "block", "commits"


def rewrite(home: Path, height: int, **columns: bytes) -> None:
    """Forge parts of a row with their sums, as a forger can, unlike a fault of the disk."""
    with tampering(home) as db:
        query = "SELECT root, diff, block, commits FROM blocks WHERE height = ?"
        row = dict(zip(PARTS, db.execute(query, (height,)).fetchone())) | columns
        place = GENESIS.hash + height.to_bytes(8)
        summed = row["root"] + row["diff"], row["block"], row["commits"]
        sums = b"".join(sha256(place + part) for part in summed)
        set_all = "sums = ?, root = ?, diff = ?, block = ?, commits = ?"
        values = (sums, *map(row.get, PARTS), height)
        db.execute(f"UPDATE blocks SET {set_all} WHERE height = ?", values)


@pytest.mark.parametrize("column", ["sums", *PARTS])
def test_a_flipped_bit_anywhere_is_found_at_its_height(home, column):
    height = 5
    with tampering(home) as db:
        query = f"SELECT {column} FROM blocks WHERE height = ?"
        (sound,) = db.execute(query, (height,)).fetchone()
    for place in range(0, len(sound), 1 + len(sound) // 100):
        with tampering(home) as db:
            wrong = bytearray(sound)
            wrong[place] ^= 1 << place % 8
            db.execute(f"UPDATE blocks SET {column} = ? WHERE height = ?", (wrong, height))
        with pytest.raises(BlockDamaged) as caught:
            check(home)
        assert caught.value.numbers["height"] == height
    with tampering(home) as db:
        db.execute(f"UPDATE blocks SET {column} = ? WHERE height = ?", (sound, height))
    check(home)


@pytest.mark.parametrize("column", PARTS)
def test_a_bit_that_is_flipped_on_purpose_is_found_at_its_height_too(home, column):
    height = 5
    with tampering(home) as db:
        query = f"SELECT {column} FROM blocks WHERE height = ?"
        (sound,) = db.execute(query, (height,)).fetchone()
    for place in range(0, len(sound), 1 + len(sound) // 50):
        wrong = bytearray(sound)
        wrong[place] ^= 1 << place % 8
        rewrite(home, height, **{column: bytes(wrong)})
        with pytest.raises(BlockInvalid) as caught:
            check(home)
        assert caught.value.numbers["height"] == height


def test_the_first_of_several_damages_is_named(home):
    """Blocks are read ahead of their turn; a fault is raised in the turn of its block."""
    with tampering(home) as db:
        db.execute("UPDATE blocks SET block = x'00' WHERE height = 5")
        db.execute("DELETE FROM blocks WHERE height = 6")
        (sound,) = db.execute("SELECT diff FROM blocks WHERE height = 4").fetchone()
    rewrite(home, 4, diff=sound[:-1] + bytes((sound[-1] ^ 1,)))
    with pytest.raises(BlockInvalid, match="block 4"):
        check(home)
    rewrite(home, 4, diff=sound)
    with pytest.raises(BlockDamaged, match="block 5"):
        check(home)
    rewrite(home, 5, block=b"\0")
    with pytest.raises(BlockInvalid, match="block 5"):
        check(home)


def test_money_added_to_the_genesis_state_is_found(home):
    with tampering(home) as db:
        (sound,) = db.execute("SELECT diff FROM blocks WHERE height = 0").fetchone()
    changes = dict(decode_diff(sound))
    changes[ACCOUNTS.key(THIEF.address)] = codec.encode(((10**15).to_bytes(7), 0))
    rewrite(home, 0, diff=encode_diff(changes.items()))
    with pytest.raises(BlockInvalid, match="block 0"):
        check(home)
    (home / INDEX_FILE).unlink()
    with pytest.raises(BlockDamaged, match="block 0"):
        Node(GENESIS, home)


# --- forged blocks -------------------------------------------------------------------------------

Decided = tuple[Block, Commit]


def votes(header: Header, /, *keys: SigningKey, **fields: Any) -> Commit:
    return precommits(header, keys or [VALIDATOR], **fields)


def signed(block: Block, **changes: Any) -> Decided:
    """Return a block with another header, and the validator's precommit for it."""
    block = replace(block, header=replace(block.header, **changes))
    return block, votes(block.header)


def remade(block: Block, **parts: Any) -> Decided:
    """Return a block with other parts, a header that fits them, and the precommit for it."""
    block = replace(block, **parts)
    return signed(
        block,
        transactions=log.root_of(block.transactions),
        last_commit=root_of(block.last_commit),
        evidence=root_of(block.evidence),
    )


def accused(
    *, key: SigningKey = VALIDATOR, height: int = 4, chain: bytes = GENESIS.hash
) -> Evidence:
    return accuse(key, chain, height)


def unsigned(evidence: Evidence) -> Evidence:
    return replace(evidence, second=replace(evidence.second, signature=bytes(64)))


def last(block: Block, **changes: Any) -> Decided:
    """Return a block whose last commit has votes with other fields, signed."""
    votes = (replace(vote, **changes).signed(GENESIS.hash, VALIDATOR) for vote in block.last_commit)
    return remade(block, last_commit=tuple(votes))


FORGERIES: dict[str, tuple[str, Callable[[Block, Commit], Decided]]] = {
    "version": ("version", lambda b, _: signed(b, version=1)),
    "chain": ("genesis", lambda b, _: signed(b, chain=OTHER.hash)),
    "height": ("height", lambda b, _: signed(b, height=4)),
    "time": ("time", lambda b, _: signed(b, time=START)),
    "previous": ("does not follow", lambda b, _: signed(b, previous=bytes(32))),
    "app_hash": ("app_hash", lambda b, _: signed(b, app_hash=bytes(32))),
    "transactions root": ("transactions", lambda b, _: signed(b, transactions=bytes(32))),
    "last commit root": ("its last commit is not", lambda b, _: signed(b, last_commit=bytes(32))),
    "evidence root": ("its evidence is not", lambda b, _: signed(b, evidence=bytes(32))),
    "validators": ("its validators", lambda b, _: signed(b, validators=bytes(32))),
    "next validators": ("its next validators", lambda b, _: signed(b, next_validators=bytes(32))),
    "proposer": ("proposer", lambda b, _: signed(b, proposer=THIEF.address)),
    "a transaction less": (
        "transactions",
        lambda b, c: (replace(b, transactions=b.transactions[1:]), c),
    ),
    "transactions swapped": (
        "transactions",
        lambda b, c: (replace(b, transactions=b.transactions[::-1]), c),
    ),
    "a transaction less, and signed": (
        "another state",
        lambda b, _: remade(b, transactions=b.transactions[:-1]),
    ),
    "what nobody may propose": (
        "may not stand in a block",
        lambda b, _: remade(b, transactions=(*b.transactions, b"junk")),
    ),
    # the commit
    "no commit": ("signatures of 0 of 10", lambda b, _: (b, ())),
    "a thief's commit": ("signatures of 0 of 10", lambda b, _: (b, votes(b.header, THIEF))),
    "a commit of another header": (
        "signatures of 0 of 10",
        lambda b, _: (b, votes(b.header, header=bytes(32))),
    ),
    "a commit of no header": (
        "signatures of 0 of 10",
        lambda b, _: (b, votes(b.header, header=None)),
    ),
    "a commit of another height": (
        "signatures of 0 of 10",
        lambda b, _: (b, votes(b.header, height=4)),
    ),
    "a commit of another chain": (
        "signatures of 0 of 10",
        lambda b, _: (b, (votes(b.header)[0].signed(OTHER.hash, VALIDATOR),)),
    ),
    "a commit of prevotes": (
        "signatures of 0 of 10",
        lambda b, _: (b, votes(b.header, kind=PREVOTE)),
    ),
    "a commit with another time than the signed one": (
        "signatures of 0 of 10",
        lambda b, c: (b, (replace(c[0], time=c[0].time + 1),)),
    ),
    "a commit with another round than the signed one": (
        "signatures of 0 of 10",
        lambda b, c: (b, (replace(c[0], round=1),)),
    ),
    "a commit of several rounds": (
        "several rounds",
        lambda b, c: (b, (*c, *votes(b.header, round=1))),
    ),
    "a vote twice in a commit": ("only 1 of its 2 votes", lambda b, c: (b, (*c, *c))),
    "a vote of no validator in a commit": (
        "only 1 of its 2 votes",
        lambda b, c: (b, (*c, *votes(b.header, THIEF))),
    ),
    "a vote for no header in a commit": (
        "only 1 of its 2 votes",
        lambda b, c: (b, (*c, *votes(b.header, header=None))),
    ),
    # the last commit
    "no last commit": (
        "its last commit: signatures of 0 of 10",
        lambda b, _: remade(b, last_commit=()),
    ),
    "a vote less in the last commit": (
        "its last commit is not",
        lambda b, c: (replace(b, last_commit=()), c),
    ),
    "a last commit of prevotes": (
        "its last commit: signatures of 0 of 10",
        lambda b, _: last(b, kind=PREVOTE),
    ),
    "a last commit of its own height": (
        "its last commit: signatures of 0 of 10",
        lambda b, _: last(b, height=5),
    ),
    "a last commit for another header": (
        "its last commit: signatures of 0 of 10",
        lambda b, _: last(b, header=bytes(32)),
    ),
    "a last commit of several rounds": (
        "its last commit: its precommits are of several rounds",
        lambda b, _: remade(b, last_commit=(*b.last_commit, *last(b, round=1)[0].last_commit)),
    ),
    "a vote many times in the last commit": (
        "its last commit: only 1 of its 9 votes",
        lambda b, _: remade(b, last_commit=9 * b.last_commit),
    ),
    "a forged vote in the last commit": (
        "its last commit: only 1 of its 2 votes",
        lambda b, _: remade(b, last_commit=(*b.last_commit, replace(b.last_commit[0], time=1))),
    ),
    # evidence
    "evidence that no header has": (
        "its evidence is not",
        lambda b, c: (replace(b, evidence=(accused(),)), c),
    ),
    "evidence of which the state shows nothing": (
        "another state",
        lambda b, _: remade(b, evidence=(accused(),)),
    ),
    "evidence that does not contradict": (
        "evidence 0: the two votes do not contradict",
        lambda b, _: remade(b, evidence=(replace(accused(), second=accused().first),)),
    ),
    "evidence of two rounds": (
        "evidence 0: the two votes do not contradict",
        lambda b, _: remade(b, evidence=(Evidence(accused().first, votes(b.header, round=1)[0]),)),
    ),
    "evidence in another order": (
        "evidence 0: the two votes do not contradict",
        lambda b, _: remade(b, evidence=(Evidence(accused().second, accused().first),)),
    ),
    "evidence against nobody in power": (
        "evidence 0: it accuses a key that is no validator's",
        lambda b, _: remade(b, evidence=(accused(key=THIEF),)),
    ),
    "evidence of another chain": (
        "evidence 0: a signature does not hold",
        lambda b, _: remade(b, evidence=(accused(chain=OTHER.hash),)),
    ),
    "forged evidence": (
        "evidence 0: a signature does not hold",
        lambda b, _: remade(b, evidence=(unsigned(accused()),)),
    ),
    "evidence of the future": (
        "evidence 0: it is of a later height",
        lambda b, _: remade(b, evidence=(accused(height=6),)),
    ),
    "evidence twice": (
        "evidence 1: given twice",
        lambda b, _: remade(b, evidence=(accused(), accused())),
    ),
}


@pytest.mark.parametrize(("words", "forge"), FORGERIES.values(), ids=FORGERIES)
def test_a_block_against_the_rules_is_found_even_if_the_validator_signs_it(home, words, forge):
    height = 5
    with tampering(home) as db:
        query = "SELECT block, commits FROM blocks WHERE height = ?"
        block, commit = db.execute(query, (height,)).fetchone()
    block, commit = forge(codec.loads(Block, block), codec.loads(Commit, commit))
    rewrite(home, height, block=codec.dumps(block), commits=codec.dumps(commit, Commit))
    with pytest.raises(BlockInvalid, match=words) as caught:
        check(home)
    assert caught.value.numbers["height"] == height


def test_the_first_block_has_no_last_commit(home):
    with tampering(home) as db:
        ((block,), (other,)) = db.execute("SELECT block FROM blocks WHERE height IN (1, 2)")
    last_commit = codec.loads(Block, other).last_commit
    block, commit = remade(codec.loads(Block, block), last_commit=last_commit)
    rewrite(home, 1, block=codec.dumps(block), commits=codec.dumps(commit, Commit))
    with pytest.raises(BlockInvalid, match="the first block has a last commit"):
        check(home)


@pytest.mark.parametrize("height", [1, 4, len(STEPS)])
def test_a_missing_block_is_found(home, height):
    with tampering(home) as db:
        db.execute("DELETE FROM blocks WHERE height = ?", (height,))
    for look in (lambda: check(home), lambda: Node(GENESIS, home)):
        with pytest.raises(BlockDamaged, match="missing") as caught:
            look()
        assert caught.value.numbers["height"] == height


def test_a_chain_cannot_begin_without_its_genesis_state(home):
    with tampering(home) as db:
        db.execute("DELETE FROM blocks WHERE height = 0")
    with pytest.raises(BlockDamaged):
        check(home)


def test_a_file_without_any_state_does_not_verify(tmp_path):
    with (
        closing(Store(tmp_path / CHAIN_FILE, GENESIS.hash)) as store,
        pytest.raises(BlockInvalid, match="block 0"),
    ):
        verify(GENESIS, store)


def test_a_block_of_no_bytes_is_found(home):
    for part in ("block", "commits"):
        for wrong in (b"", b"\0", b"\x84\0\0\0\0"):
            rewrite(home, 3, **{part: wrong})
            with pytest.raises(BlockInvalid, match="block 3"):
                check(home)


# --- whose chain it is ---------------------------------------------------------------------------


def test_a_chain_of_another_genesis_is_refused_and_left_alone(home, whole):
    with pytest.raises(WrongChain, match=OTHER.hash.hex()[:8]):
        Node(OTHER, home)
    with pytest.raises(WrongChain):
        Reader(home / CHAIN_FILE, home / INDEX_FILE, OTHER.hash)
    with opened(home) as node:
        assert contents(node) == contents(whole)


WRITER = """
import sys
import weakref
from pathlib import Path
from contextlib import closing
from dii.consensus.node import Node
from dii.consensus.solo import Solo
from tests.chains import VALIDATOR, genesis
node = Node(genesis(), Path(sys.argv[1]))
solo = Solo(node, VALIDATOR)
print(node.height, flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        solo.produce()
        print(node.height, flush=True)
node.close()
"""


@contextmanager
def writer(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the chain open, and makes as many blocks as requested."""
    command = [sys.executable, "-c", WRITER, str(home)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def test_only_one_process_writes_and_others_read_what_it_has_written(home):
    with writer(home) as process:
        assert int(process.stdout.readline()) == len(STEPS)
        with pytest.raises(StoreLocked, match=r"chain\.sqlite"):
            Node(GENESIS, home)
        with closing(Reader(home / CHAIN_FILE, home / INDEX_FILE, GENESIS.hash)) as reader:
            before = reader.height
            assert reader.header.height == len(STEPS)
            assert reader.header.app_hash == reader.state.committed_root
            process.stdin.write("3\n")
            process.stdin.flush()
            assert [int(process.stdout.readline()) for _ in range(3)][-1] == len(STEPS) + 3
            assert reader.height == before
            reader.refresh()
            assert reader.header.app_hash == reader.state.committed_root
            assert reader.header.height + reader.lag == len(STEPS) + 3
        check(home)
        process.stdin.close()
        assert process.wait(60) == 0
    with opened(home) as node:
        assert node.height == len(STEPS) + 3


@pytest.mark.parametrize("blocks", [1, 7, 20])
def test_a_process_that_is_killed_leaves_every_block_that_it_acknowledged(home, blocks):
    with writer(home) as process:
        process.stdout.readline()
        process.stdin.write("1000000\n")
        process.stdin.flush()
        acknowledged = [int(process.stdout.readline()) for _ in range(blocks)][-1]
        process.send_signal(signal.SIGKILL)
        process.wait()
    check(home)
    with opened(home) as node:
        assert node.height >= acknowledged
        assert len(tables(node.index)["blocks"]) == node.height
        extend(node, 3, 4)


def test_a_node_that_fails_to_open_lets_go_of_the_chain(home):
    with tampering(home) as db:
        db.execute("UPDATE blocks SET diff = x'00' WHERE height = 2")
    for _ in range(2):
        with pytest.raises(DiiError) as caught:
            Node(GENESIS, home)
        assert not isinstance(caught.value, StoreLocked)


# --- files that are no chain ---------------------------------------------------------------------


def test_a_file_that_is_no_chain_is_a_named_error(tmp_path):
    path = tmp_path / CHAIN_FILE
    for content in (b"garbage" * 1000, b"SQLite format 3\0" + bytes(4096)):
        path.write_bytes(content)
        with pytest.raises(StoreBroken, match=r"chain\.sqlite"):
            Node(GENESIS, tmp_path)
        with pytest.raises(StoreBroken, match=r"chain\.sqlite"):
            Store(path, GENESIS.hash, readonly=True)
        assert path.read_bytes() == content


def test_a_chain_of_another_format_is_a_named_error(home):
    with tampering(home) as db:
        db.execute("UPDATE meta SET value = x'63' WHERE key = 'format'")
    with pytest.raises(StoreBroken, match="format"):
        Node(GENESIS, home)


def test_a_missing_chain_cannot_be_read_and_is_not_made_by_looking(tmp_path):
    path = tmp_path / CHAIN_FILE
    with pytest.raises(StoreBroken):
        Reader(path, tmp_path / INDEX_FILE, GENESIS.hash)
    with pytest.raises(StoreBroken):
        Node(GENESIS, tmp_path / "no" / "folder")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_without_an_index_says_how_to_make_one(home):
    (home / INDEX_FILE).unlink()
    with pytest.raises(IndexMissing, match="dii rebuild"):
        Reader(home / CHAIN_FILE, home / INDEX_FILE, GENESIS.hash)


# --- readers -------------------------------------------------------------------------------------


def test_a_reader_sees_what_the_node_sees_and_cannot_write(home, whole):
    with closing(Reader(home / CHAIN_FILE, home / INDEX_FILE, GENESIS.hash)) as reader:
        assert reader.state.committed_root == whole.state.committed_root
        assert reader.header == whole.header
        assert reader.state.get(SCOPES, "main") == whole.state.get(SCOPES, "main")
        assert tables(reader.index) == tables(whole.index)
        with pytest.raises(StoreBroken):
            reader.store.append(reader.height + 1, b"", b"", bytes(32))
        with pytest.raises(sqlite3.OperationalError):
            reader.index.db.execute("DELETE FROM blocks")


def test_a_reader_keeps_its_state_while_nothing_is_written(home):
    with opened(home) as node:
        Solo(node, VALIDATOR).settle()  # until a block has changed nothing
    with closing(Reader(home / CHAIN_FILE, home / INDEX_FILE, GENESIS.hash)) as reader:
        state, height = reader.state, reader.height
        assert height == reader.header.height
        reader.refresh()
        assert (reader.height, reader.state is state) == (height, True)


def test_a_reader_that_came_before_the_genesis_state_reads_it_later(tmp_path):
    Store(tmp_path / CHAIN_FILE, GENESIS.hash).close()
    Index(tmp_path / INDEX_FILE).close()
    with closing(Reader(tmp_path / CHAIN_FILE, tmp_path / INDEX_FILE, GENESIS.hash)) as reader:
        with opened(tmp_path) as node:
            extend(node, 0, 2)
            root = node.header.app_hash
        reader.refresh()
        assert (reader.height, reader.state.committed_root) == (1, root)


def test_a_reader_of_a_chain_without_blocks_has_no_header(tmp_path):
    with (
        opened(tmp_path),
        closing(Reader(tmp_path / CHAIN_FILE, tmp_path / INDEX_FILE, GENESIS.hash)) as reader,
    ):
        assert (reader.height, reader.header) == (0, None)
        reader.refresh()
        assert reader.height == 0


# --- an interrupt -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "name"), [("app", "commit"), ("store", "append"), ("index", "put")], ids=str
)
def test_an_interrupted_block_is_whole_and_the_chain_goes_on(
    tmp_path, whole, monkeypatch, part, name
):
    with opened(tmp_path) as node:
        extend(node, 0, 4)
        once = getattr(getattr(node, part), name)

        def interrupted(*arguments, **more):
            monkeypatch.undo()
            signal.raise_signal(signal.SIGINT)
            return once(*arguments, **more)

        monkeypatch.setattr(getattr(node, part), name, interrupted, raising=True)
        with pytest.raises(KeyboardInterrupt):
            extend(node, 4, 5)
        assert node.height == node.store.height == 5
        extend(node, 5)
        assert contents(node) == contents(whole)
    check(tmp_path)


# --- a disk that is full --------------------------------------------------------------------------


def limit_pages(node: Node, more: int) -> None:
    """Let the chain's file grow by a few pages only, as on a full disk."""
    db = node.store._writing()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages + more}")


def test_a_block_that_cannot_be_written_stops_the_node_and_the_last_whole_block_stands(tmp_path):
    with opened(tmp_path) as node:
        extend(node, 0, 4)
        before = node.height, node.header, node.state.committed_root
        limit_pages(node, 1)
        wires = [sign(GENESIS.hash, THIEF, nonce, Burn(1)) for nonce in range(100)]
        with pytest.raises(StoreBroken, match="block 5 was not written"):
            Solo(node, VALIDATOR).produce(wires)
        with suppress(StoreBroken, sqlite3.Error):  # there is room again, but the node went ahead
            limit_pages(node, 1_000)
        with pytest.raises(StoreBroken, match="start again"):
            Solo(node, VALIDATOR).produce()
    with opened(tmp_path) as node:
        assert (node.height, node.header, node.state.committed_root) == before
        extend(node, 4)
    check(tmp_path)


def test_an_index_without_room_is_not_made_again(home, whole, monkeypatch):
    with tampering(home, INDEX_FILE) as db:
        for name in TABLES:
            db.execute(f"DELETE FROM {name}")
        db.execute("UPDATE progress SET height = 0")
    with closing(sqlite3.connect(home / INDEX_FILE)) as db:
        for statement in ("PRAGMA journal_mode = DELETE", "PRAGMA page_size = 512", "VACUUM"):
            db.execute(statement)

    def full(path: Path, **options: bool) -> sqlite3.Connection:
        db = connect(path, **options)
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
        return db

    with monkeypatch.context() as patched:
        patched.setattr("dii.ledger.index.connect", full)
        patched.setattr(Node, "rebuild", lambda _: pytest.fail("a full disk has room for no index"))
        with pytest.raises(IndexFull, match="make room on its disk"):
            Node(GENESIS, home)
    with opened(home) as node:
        assert contents(node) == contents(whole)


def test_a_height_is_written_once(tmp_path):
    with closing(Store(tmp_path / CHAIN_FILE, GENESIS.hash)) as store:
        store.append(0, b"", b"", bytes(32))
        with pytest.raises(StoreBroken):
            store.append(0, b"other", b"", bytes(32))
    with closing(Store(tmp_path / CHAIN_FILE, GENESIS.hash)) as store:
        assert store.block(0) == b""
        assert store.block(1) is None
        assert store.height == 0


def test_a_node_that_nobody_refers_to_is_freed_without_a_collection(tmp_path):
    """Large blocks exempt their objects from collection, so no cycle may hold the state."""
    gc.collect()
    gc.disable()
    try:
        node = Node(GENESIS, tmp_path)
        extend(node)
        node.close()
        left = weakref.ref(node.app)
        del node
        assert left() is None
    finally:
        gc.enable()
