"""Snapshots: cutting, assembling, refusing, opening, joining, and counting money."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections import deque
from contextlib import closing
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii import codec, crypto
from dii.application.records import ACCOUNTS, Account
from dii.consensus.node import CHAIN_FILE, INDEX_FILE, Node, join, surplus, verify
from dii.errors import (
    BlockDamaged,
    CodecError,
    InvariantBroken,
    ShapeMismatch,
    SnapshotInvalid,
    StoreBroken,
)
from dii.ledger import snapshot
from dii.ledger.block import PRECOMMIT, Block, Commit, Evidence, Vote
from dii.ledger.reader import Reader
from dii.ledger.snapshot import Manifest, assemble, cut, read_manifest, state_at
from dii.ledger.state import State, decode_diff, encode_diff
from dii.ledger.store import Store
from tests.chains import ALICE, THIEF
from tests.soak.chain import GENESIS, produce

BLOCKS = 30

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the chain."""
    home = tmp_path_factory.mktemp("original")
    with closing(Node(GENESIS, home)) as node:
        for _ in range(BLOCKS):
            produce(node)
    return home


@pytest.fixture
def home(original: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "home"))


def state_of(pairs: dict[bytes, bytes]) -> State:
    state = State()
    state.apply(tuple(sorted(pairs.items())))
    return state


# --- cutting and putting together ---------------------------------------------------------------

keys = st.binary(min_size=1, max_size=30)
states = st.dictionaries(keys, st.binary(max_size=700) | st.just(bytes(2_000)), min_size=1)


@given(states)
def test_a_snapshot_is_the_state_in_order_in_chunks_that_are_diffs(pairs):
    state = state_of(pairs)
    pieces = list(cut(5, state.committed_root, state.pairs()))
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    assert [bool(piece.manifest) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    together = [pair for piece in pieces for pair in decode_diff(piece.chunk)]
    assert together == sorted(pairs.items())
    for piece in pieces:
        assert len(piece.chunk) <= snapshot.CHUNK or len(decode_diff(piece.chunk)) == 1
    manifest = codec.loads(Manifest, pieces[-1].manifest)
    assert manifest.height == 5
    assert manifest.root == state.committed_root
    assert manifest.pairs == len(pairs)
    assert manifest.size == sum(len(piece.chunk) for piece in pieces)
    assert manifest.chunks == tuple(crypto.sha256(piece.chunk) for piece in pieces)
    again = assemble(pieces[-1].manifest, [piece.chunk for piece in pieces], manifest.root)
    assert again.pairs() == pairs


def test_chunks_hold_as_much_as_they_may():
    pairs = {number.to_bytes(20): bytes(50) for number in range(100)}
    pieces = list(cut(0, bytes(32), pairs))
    for piece in pieces[:-1]:
        assert snapshot.CHUNK - 150 < len(piece.chunk) <= snapshot.CHUNK


@given(st.permutations([number.to_bytes(2) for number in range(300)]))
def test_keys_are_sorted_however_they_lie(order):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "_RUN", 32)
        assert list(snapshot._ascending(order)) == sorted(order)


def test_commits_during_a_snapshot_do_not_show():
    state = state_of({b"a": b"1", b"b": bytes(700), b"c": b"1"})
    pieces = cut(0, state.committed_root, state.pairs())
    first = next(pieces)
    state.apply(((b"b", None), (b"c", b"2"), (b"d", b"3")))
    chunks = [first.chunk, *(piece.chunk for piece in pieces)]
    assert [pair for chunk in chunks for pair in decode_diff(chunk)] == [
        (b"a", b"1"),
        (b"b", bytes(700)),
        (b"c", b"1"),
    ]


# --- what strangers may hand over ---------------------------------------------------------------

PAIRS = {bytes([number]): bytes([number]) * 200 for number in range(1, 12)}
ROOT = state_of(PAIRS).committed_root


def good() -> tuple[Manifest, list[bytes]]:
    """Return a sound snapshot of several chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "CHUNK", 600)
        pieces = list(cut(3, ROOT, PAIRS))
    assert len(pieces) > 3
    return codec.loads(Manifest, pieces[-1].manifest), [piece.chunk for piece in pieces]


def manifest_of(chunks: list[bytes], **changes: object) -> bytes:
    """Return the manifest that a liar makes for chunks."""
    hashes = tuple(crypto.sha256(chunk) for chunk in chunks)
    made = Manifest(3, ROOT, len(PAIRS), sum(map(len, chunks)), hashes)
    return codec.dumps(replace(made, **changes))


def chunk(*pairs: tuple[bytes, bytes | None]) -> bytes:
    return encode_diff(pairs)


def test_no_chunk_can_be_left_out_changed_exchanged_or_given_twice():
    manifest, chunks = good()
    raw = codec.dumps(manifest)
    wrong = [
        chunks[:-1], chunks[1:], [*chunks, chunks[0]], chunks[::-1], [chunks[0], *chunks],
        [*chunks[:-1], chunks[-1][:-1]], [*chunks[:-1], chunks[-1] + b"\0"], [b"", *chunks], [],
    ]  # fmt: skip
    for number in range(len(chunks)):
        flipped = bytearray(chunks[number])
        flipped[len(flipped) // 2] ^= 1
        wrong.append([*chunks[:number], bytes(flipped), *chunks[number + 1 :]])
    for given_chunks in wrong:
        with pytest.raises(SnapshotInvalid, match="height 3"):
            assemble(raw, given_chunks, ROOT)
    assert assemble(raw, chunks, ROOT).pairs() == PAIRS


@pytest.mark.parametrize(
    "lie",
    [
        [chunk(*PAIRS.items(), (b"\x20", b"gold"))],
        [chunk(*list(PAIRS.items())[1:])],
        [chunk(*list(PAIRS.items())[:5]), chunk(*list(PAIRS.items())[4:])],
        [chunk(*list(PAIRS.items())[5:]), chunk(*list(PAIRS.items())[:5])],
        [chunk((b"\0", None), *PAIRS.items())],
        [chunk(*PAIRS.items()), chunk()],
        [chunk(*reversed(PAIRS.items()))],
        [codec.encode("text")],
        [codec.encode([b"key"])],
        [b"\x9b" + b"\xff" * 8],
    ],
)
def test_a_manifest_that_fits_its_chunks_does_not_help_a_liar(lie):
    for changes in ({}, {"pairs": 12}, {"pairs": 10}):
        with pytest.raises(SnapshotInvalid):
            assemble(manifest_of(lie, **changes), lie, ROOT)


def test_numbers_of_a_manifest_must_be_those_of_its_chunks():
    manifest, chunks = good()
    for changes in ({"pairs": 10}, {"pairs": 12}, {"size": 1}, {"size": manifest.size + 1}):
        with pytest.raises(SnapshotInvalid):
            assemble(codec.dumps(replace(manifest, **changes)), chunks, ROOT)


def test_a_state_with_another_root_is_not_handed_out():
    manifest, chunks = good()
    with pytest.raises(SnapshotInvalid, match="not the trusted one"):
        assemble(codec.dumps(manifest), chunks, bytes(32))


def test_a_chunk_is_measured_before_it_is_hashed_or_parsed(monkeypatch):
    huge = bytes(snapshot.MAX_CHUNK + 1)
    manifest = manifest_of([huge], size=snapshot.MAX_SIZE)
    monkeypatch.setattr(crypto, "sha256", None)
    with pytest.raises(SnapshotInvalid, match="too large"):
        assemble(manifest, [huge])


@given(st.binary(max_size=300) | st.builds(codec.encode, st.lists(st.integers(0, 2**64 - 1))))
def test_any_bytes_are_a_manifest_or_a_named_error(data):
    try:
        assert codec.dumps(read_manifest(data)) == data
    except SnapshotInvalid:
        pass


@given(st.data())
def test_a_manifest_with_a_byte_changed_is_refused_or_leads_nowhere(data):
    manifest, chunks = good()
    raw = bytearray(codec.dumps(manifest))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        # The height and the root it names are the reader's to compare with a header.
        assert assemble(bytes(raw), chunks, ROOT).pairs() == PAIRS
        told = codec.loads(Manifest, bytes(raw))
        assert replace(told, height=3, root=ROOT) == manifest
    except SnapshotInvalid:
        pass


scraps = st.binary(max_size=40) | st.none() | st.integers(0, 9) | st.lists(st.binary(max_size=3))


@given(st.lists(st.binary(max_size=60) | st.builds(codec.encode, st.lists(scraps)), min_size=1))
def test_any_chunks_are_refused_or_a_state(chunks):
    try:
        state = assemble(manifest_of(chunks, pairs=1), chunks)
        assert len(state.pairs()) == 1
    except SnapshotInvalid:
        pass


@given(st.binary(max_size=200) | st.builds(codec.encode, st.lists(scraps)))
def test_any_bytes_are_a_diff_or_a_named_error(data):
    try:
        diff = decode_diff(data)
    except (CodecError, ShapeMismatch):
        return
    assert encode_diff(diff) == data
    assert list(diff) == sorted(dict(diff).items())


# --- a node's own -------------------------------------------------------------------------------


def test_a_node_takes_snapshots_piece_by_piece_and_keeps_two(undisturbed, tmp_path):
    seen = set()
    with closing(Node(GENESIS, tmp_path)) as node:
        for height in range(1, BLOCKS + 1):
            produce(node)
            known = node.store.snapshots()
            assert len(known) <= 2
            for one in known:
                state = snapshot.read(node.store, one)
                assert state.pairs() == undisturbed.pairs[one]
                assert (
                    codec.loads(Manifest, node.store.manifest(one)).root == undisturbed.rows[one][2]
                )
            seen |= {(height - one) for one in known if one == max(known)}
        assert max(known) > BLOCKS // 2
    assert len(seen) > 1, "all in the block that began them"


def test_every_height_that_is_stored_can_be_opened(home, undisturbed):
    with closing(Store(home / CHAIN_FILE, GENESIS.hash, readonly=True)) as store:
        for height in range(BLOCKS + 1):
            assert state_at(store, height).pairs() == undisturbed.pairs[height]


def damage(home: Path, sql: str) -> None:
    with closing(sqlite3.connect(home / CHAIN_FILE)) as db, db:
        assert db.execute(sql).rowcount > 0


NEWEST = "(SELECT max(height) FROM snapshots)"
DAMAGES = {
    "manifest": f"UPDATE snapshots SET manifest = x'80' WHERE height = {NEWEST}",
    "sum": f"UPDATE snapshots SET sum = x'80' WHERE height = {NEWEST}",
    "chunk": f"UPDATE chunks SET chunk = x'80' WHERE place = {NEWEST} << 16",
    "no chunk": f"DELETE FROM chunks WHERE place = ({NEWEST} << 16) + 1",
    "all": "UPDATE chunks SET chunk = x'80'",
    "none": "DELETE FROM snapshots",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_snapshot_is_passed_over_and_that_is_said(home, undisturbed, caplog, name):
    with caplog.at_level(logging.WARNING), closing(Node(GENESIS, home)):
        assert not caplog.messages
    damage(home, DAMAGES[name])
    with (
        caplog.at_level(logging.WARNING),
        closing(Reader(home / CHAIN_FILE, home / INDEX_FILE, GENESIS.hash)) as reader,
    ):
        undisturbed.compare(reader)
    assert len(caplog.messages) == {"all": 2, "none": 0}.get(name, 1)
    assert all("passed over its snapshot" in message for message in caplog.messages)
    with closing(Node(GENESIS, home)) as node:
        undisturbed.compare(node)
        produce(node)
        undisturbed.compare(node, BLOCKS)


def test_a_damaged_diff_after_the_snapshot_is_named_by_height(home):
    damage(home, f"UPDATE blocks SET diff = x'80' WHERE height = {BLOCKS - 1}")
    for look in (
        lambda: Node(GENESIS, home),
        lambda: Reader(home / CHAIN_FILE, home / INDEX_FILE, GENESIS.hash),
    ):
        with pytest.raises(BlockDamaged) as caught:
            look()
        assert caught.value.numbers["height"] == BLOCKS - 1


def test_short_sessions_end_the_snapshots_that_they_begin(undisturbed, tmp_path):
    for _ in range(BLOCKS):
        with closing(Node(GENESIS, tmp_path)) as node:
            produce(node)
            began = node.height
    with closing(Node(GENESIS, tmp_path)) as node:
        assert node.store.snapshots()[0] > began - 10
        undisturbed.compare(node)


def test_a_snapshot_of_more_than_4096_chunks_is_stored_and_read(tmp_path):
    state = state_of({number.to_bytes(2): bytes(snapshot.CHUNK) for number in range(4_200)})
    pieces = list(cut(5, state.committed_root, state.pairs()))
    assert len(pieces) == 4_200
    with closing(Store(tmp_path / "chain", bytes(32))) as store:
        store.keep(pieces)
        assert snapshot.read(store, 5).committed_root == state.committed_root


@pytest.mark.parametrize("limit", [1, 3])
def test_a_state_too_large_for_a_snapshot_never_stops_the_node(
    tmp_path, monkeypatch, caplog, limit
):
    monkeypatch.setattr(snapshot, "MAX_CHUNKS", limit)
    with closing(Node(GENESIS, tmp_path)) as node:
        for _ in range(BLOCKS):
            produce(node)
        store = node.store
        assert node.height == BLOCKS
        for one in store.snapshots():
            assert len(codec.loads(Manifest, store.manifest(one)).chunks) <= limit
    assert any("more than" in message for message in caplog.messages)
    with closing(sqlite3.connect(tmp_path / CHAIN_FILE)) as db:
        ((heights,),) = db.execute("SELECT count(DISTINCT place >> 16) FROM chunks")
    assert heights <= 3, "two snapshots, and what is left of one"
    with closing(Node(GENESIS, tmp_path)) as node:
        produce(node)


def test_a_snapshot_in_which_money_has_appeared_stops_the_node(tmp_path):
    with closing(Node(GENESIS, tmp_path)) as node:
        produce(node)
        key = ACCOUNTS.key(THIEF.address)
        node.state.apply(((key, codec.dumps(Account(10**15, 0))),))  # what no block did
        with pytest.raises(InvariantBroken, match="more held than minted") as caught:
            deque(map(produce, repeat(node, BLOCKS)))
        with pytest.raises(StoreBroken):
            produce(node)
    with closing(Store(tmp_path / CHAIN_FILE, GENESIS.hash, readonly=True)) as store:
        assert store.height + 1 == caught.value.numbers["height"]
        assert store.snapshots() == []


def test_the_surplus_of_a_state_is_that_of_its_parts(undisturbed):
    """So that a snapshot's money can be counted chunk by chunk."""
    pairs = sorted(undisturbed.pairs[BLOCKS].items())
    for size in (1, 2, 7, len(pairs)):
        parts = [dict(pairs[at : at + size]) for at in range(0, len(pairs), size)]
        assert sum(surplus(state_of(part)) for part in parts) == 0
    more = {ACCOUNTS.key(ALICE.address): codec.dumps(Account(10**15, 0))}
    assert surplus(state_of(dict(pairs) | more)) > 0


# --- joining ------------------------------------------------------------------------------------


def offered(home: Path) -> tuple[Block, Block, Commit, bytes, list[bytes]]:
    """Return a snapshot of a node's with its block and the next, as another node would get it."""
    with closing(Store(home / CHAIN_FILE, GENESIS.hash, readonly=True)) as store:
        height = store.snapshots()[0]
        manifest = store.manifest(height)
        count = len(codec.loads(Manifest, manifest).chunks)
        chunks = [store.chunk(height, number) for number in range(count)]
        last, following = (codec.loads(Block, store.block(height + more)) for more in (0, 1))
        commit = codec.loads(Commit, store.commit(height + 1))
    return last, following, commit, manifest, chunks


def test_a_node_that_joins_with_a_snapshot_goes_on_like_all_others(original, undisturbed, tmp_path):
    last, following, commit, manifest, chunks = offered(original)
    trusted = following.header.hash
    join(GENESIS, tmp_path, trusted, last, following, commit, manifest, chunks)
    base = last.header.height
    for _ in range(2):
        with closing(Node(GENESIS, tmp_path)) as node:
            assert (node.height, node.header, node.store.base) == (base + 1, following.header, base)
            assert node.state.pairs() == undisturbed.pairs[base + 1]
    with closing(Node(GENESIS, tmp_path)) as node:
        while node.height <= BLOCKS:
            produce(node)
        assert list(node.store.blocks(base + 1)) == undisturbed.rows[base + 1 :]
        for _ in range(20):  # the snapshot it began with stays, whatever is taken later
            produce(node)
        assert len(node.store.snapshots()) == 3
        node.rebuild()
        (blocks,) = node.index.query("SELECT count(*) FROM blocks")
        assert blocks == (node.height - base,)
        assert verify(GENESIS, node.store).height == node.height
    (tmp_path / INDEX_FILE).unlink()
    with closing(Node(GENESIS, tmp_path)) as node:
        assert node.index.query("SELECT count(*) FROM blocks") == [blocks]


def test_joining_trusts_nothing_but_the_hash_of_a_header(original, tmp_path):
    last, following, commit, manifest, chunks = offered(original)
    header, trusted = following.header, following.header.hash
    less = replace(last, transactions=last.transactions[1:])
    fewer = replace(following, transactions=following.transactions[1:])
    forged = codec.dumps(replace(codec.loads(Manifest, manifest), root=bytes(32)))
    pairs = [pair for one in chunks for pair in decode_diff(one)]
    more = encode_diff((*pairs, (b"\xff", b"gold")))
    lie = Manifest(last.header.height, header.app_hash, len(pairs) + 1, len(more), ())
    lie = replace(lie, chunks=(crypto.sha256(more),))
    strange = Vote(PRECOMMIT, header.height, 0, trusted, 1, ALICE.public_key)
    junk = (*commit, strange.signed(GENESIS.hash, ALICE))
    accused = (Evidence(strange, replace(strange, header=None)),)
    whole = (trusted, last, following, commit, manifest, chunks)

    def but(**changes: object) -> tuple[object, ...]:
        """Return the offer with other parts."""
        names = ("trusted", "last", "following", "commit", "manifest", "chunks")
        return tuple((dict(zip(names, whole)) | changes).values())

    wrong = {
        "another header": but(following=last),
        "another hash": but(trusted=bytes(32)),
        "another block": but(last=following),
        "fewer transactions": but(last=less),
        "fewer votes": but(last=replace(last, last_commit=())),
        "more evidence": but(last=replace(last, evidence=accused)),
        "fewer in the next": but(following=fewer),
        "fewer votes in the next": but(following=replace(following, last_commit=())),
        "more evidence in the next": but(following=replace(following, evidence=accused)),
        "unsigned": but(commit=()),
        "signed for another block": but(commit=following.last_commit),
        "signed by others, too": but(commit=junk),
        "chunks missing": but(chunks=chunks[:-1]),
        "no chunks": but(chunks=[]),
        "more gold": but(manifest=codec.dumps(lie), chunks=[more]),
        "no manifest": but(manifest=b""),
        "another root": but(manifest=forged),
    }
    for offer in wrong.values():
        with pytest.raises(SnapshotInvalid):
            join(GENESIS, tmp_path, *offer)
        assert list(tmp_path.iterdir()) == []
    join(GENESIS, tmp_path, trusted, last, following, commit, manifest, chunks)
    with pytest.raises(SnapshotInvalid, match="has a chain already"):
        join(GENESIS, tmp_path, trusted, last, following, commit, manifest, chunks)


def test_a_chain_that_began_with_a_snapshot_and_lost_it_says_so(original, tmp_path):
    last, following, commit, manifest, chunks = offered(original)
    join(GENESIS, tmp_path, following.header.hash, last, following, commit, manifest, chunks)
    damage(tmp_path, "UPDATE chunks SET chunk = x'80'")
    with pytest.raises(BlockDamaged, match="snapshot of another node"):
        Node(GENESIS, tmp_path)
