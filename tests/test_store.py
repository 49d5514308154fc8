"""The chain's file: torn tails, acknowledged blocks, kept data, and the writer's lock."""

from __future__ import annotations

import shutil
import struct
from contextlib import closing
from pathlib import Path

import pytest

from dii.consensus.node import CHAIN_FILE, INDEX_FILE, Node
from dii.errors import BlockDamaged, StoreBroken
from dii.ledger import store as stores
from dii.ledger.reader import Reader
from dii.ledger.store import Piece, Store
from tests.soak.chain import GENESIS, produce

WAL = f"{CHAIN_FILE}-wal"
LOCK = "chain.lock"
BLOCKS = 14
FRAME = 24

pytestmark = pytest.mark.usefixtures("small")


class Torn:
    """A home with all blocks in its log, and how long the log was after each."""

    def __init__(self, folder: Path) -> None:
        self.home, live = folder / "torn", folder / "live"
        live.mkdir()
        with closing(Node(GENESIS, live)) as node:
            self.ends = [(live / WAL).stat().st_size]
            for _ in range(BLOCKS):
                produce(node)
                self.ends.append((live / WAL).stat().st_size)
            node.index.flush()
            shutil.copytree(live, self.home)
        self.log = (self.home / WAL).read_bytes()
        (self.home / WAL).unlink()
        (self.home / f"{CHAIN_FILE}-shm").unlink()

    def cut(self, length: int, folder: Path, *, tail: bytes = b"", witness: bool) -> Path:
        """Return a copy in which the log ends after some bytes, followed by other bytes."""
        home = folder / f"cut{length}"
        shutil.copytree(self.home, home)
        (home / WAL).write_bytes(self.log[:length] + tail)
        if not witness:
            (home / LOCK).unlink()
        return home


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Torn:
    return Torn(tmp_path_factory.mktemp("torn"))


def cuts(log: bytes) -> list[int]:
    """Return each end of a frame, and places before, within and after its head and its page."""
    page = struct.unpack(">I", log[8:12])[0]
    ends = range(32, len(log) + 1, FRAME + page)
    return [end + more for end in ends for more in (-1, 0, 1, FRAME, FRAME + page // 2)][1:-3]


def test_a_log_that_is_cut_anywhere_opens_at_its_last_whole_block(torn, undisturbed, tmp_path):
    """Draw the remains of a power cut: any part of the unacknowledged bytes, then noise."""
    found = set()
    places = cuts(torn.log)
    assert len(places) > 5 * BLOCKS
    for number, place in enumerate(places):
        if place < torn.ends[0]:
            continue  # within the creation, see below
        differs = bytes(byte ^ 1 for byte in torn.log[place : place + 1])
        noise = differs + (bytes(range(256)) * 20 if number % 2 else bytes(5_000))
        home = torn.cut(place, tmp_path, tail=noise, witness=False)
        with closing(Node(GENESIS, home)) as node:
            expected = max(height for height, end in enumerate(torn.ends) if end <= place)
            assert node.height == expected
            undisturbed.compare(node)
            produce(node)
            undisturbed.compare(node, expected)
            found.add(expected)
        shutil.rmtree(home)
    assert found == set(range(BLOCKS + 1))


def test_a_creation_that_is_cut_anywhere_is_made_again_or_goes_on(torn, undisturbed, tmp_path):
    for place in (one for one in cuts(torn.log) if one < torn.ends[0]):
        home = torn.cut(place, tmp_path, witness=False)
        (home / INDEX_FILE).unlink()
        with closing(Node(GENESIS, home)) as node:
            assert node.height == 0
            undisturbed.compare(node)
            produce(node)
        shutil.rmtree(home)


def test_a_log_that_lacks_acknowledged_blocks_is_named_by_height_and_left_alone(torn, tmp_path):
    for height, end in enumerate(torn.ends[:-1]):
        home = torn.cut(end, tmp_path, witness=True)
        before = {path.name: path.read_bytes() for path in home.glob("chain.*")}
        files = home / CHAIN_FILE, home / INDEX_FILE
        for look, what in ((Node, (GENESIS, home)), (Reader, (*files, GENESIS.hash))):
            with pytest.raises(BlockDamaged, match=f"up to {BLOCKS}") as caught:
                look(*what)
            assert caught.value.numbers["height"] == height + 1
        after = {name: (home / name).read_bytes() for name in before}
        assert after == before
        (home / LOCK).unlink()
        with closing(Node(GENESIS, home)) as node:
            assert node.height == height


def test_a_damaged_frame_in_the_log_is_not_taken_for_its_end(torn, tmp_path):
    """SQLite takes it for the log's end: without the second file later blocks would be lost."""
    middle = torn.ends[BLOCKS // 2] + FRAME + 100
    home = torn.cut(len(torn.log), tmp_path, witness=True)
    damaged = bytearray(torn.log)
    damaged[middle] ^= 1
    (home / WAL).write_bytes(damaged)
    with pytest.raises(BlockDamaged) as caught:
        Node(GENESIS, home)
    assert caught.value.numbers["height"] == BLOCKS // 2 + 1
    assert (home / WAL).read_bytes() == damaged


def test_a_chain_that_is_gone_is_not_begun_anew(tmp_path):
    with closing(Node(GENESIS, tmp_path)) as node:
        produce(node)
    (tmp_path / CHAIN_FILE).unlink()
    for _ in range(2):
        for readonly in (True, False):
            with pytest.raises(StoreBroken, match="no chain is in it; put a copy back"):
                Store(tmp_path / CHAIN_FILE, GENESIS.hash, readonly=readonly).close()
    (tmp_path / LOCK).unlink()
    with closing(Node(GENESIS, tmp_path)) as node:
        assert node.height == 0


@pytest.mark.parametrize("content", [b"", bytes(21), b"what is this", b"-5", b"\xff" * 21])
def test_a_torn_witness_is_none(tmp_path, content):
    with closing(Node(GENESIS, tmp_path)) as node:
        produce(node)
    (tmp_path / LOCK).write_bytes(content)
    with closing(Node(GENESIS, tmp_path)) as node:
        produce(node)
        assert int((tmp_path / LOCK).read_bytes()) == node.height == 2


def test_a_large_file_is_not_walked_through_at_opening_and_its_damage_is_found_when_read(
    tmp_path, monkeypatch, undisturbed
):
    monkeypatch.setattr(stores, "QUICK", 0)
    with closing(Node(GENESIS, tmp_path)) as node:
        for _ in range(BLOCKS):
            produce(node)
        kept = node.store.snapshots()
    data = bytearray((tmp_path / CHAIN_FILE).read_bytes())
    block = undisturbed.rows[2][3]
    assert kept[-1] > 2
    data[data.index(block[-100:])] ^= 1
    (tmp_path / CHAIN_FILE).write_bytes(data)
    with closing(Node(GENESIS, tmp_path)) as node:
        assert node.height == BLOCKS
        assert node.state.pairs() == undisturbed.pairs[BLOCKS]
        for read in (lambda: node.store.block(2), lambda: list(node.store.blocks())):
            with pytest.raises(BlockDamaged) as caught:
                read()
            assert caught.value.numbers["height"] == 2
        assert node.store.block(1) == undisturbed.rows[1][3]


def test_two_snapshots_are_kept_and_nothing_of_those_that_were_broken_off():
    def pieces(height: int, count: int, *, whole: bool = True) -> list[Piece]:
        found = [Piece(height, number, b"%d" % height) for number in range(count)]
        return [*found[:-1], found[-1]._replace(manifest=b"m")] if whole else found

    store = Store(None, bytes(32))
    for height in range(6):
        store.append(height, b"", b"", bytes(32), *pieces(height, 3, whole=height != 3))
        known = [one for one in range(height, -1, -1) if one != 3]
        # The first stays: this chain might have begun with it.
        assert store.snapshots() == sorted({*known[:2], 0}, reverse=True)
    assert [store.chunk(height, 0) for height in range(6)] == [b"0", b"", b"", b"", b"4", b"5"]
    assert store.chunk(5, 2) == b"5"
    assert store.chunk(5, 3) == b""
    store.close()
