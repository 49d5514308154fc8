"""Flipped bits anywhere in a chain's files: found, or harmless.

After each flip the chain is opened, read, continued and verified. Either an error of ours names the
fault, and opening has changed nothing, or everything is as it was before: every balance, every
byte of every block that can be read.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

from dii.consensus.node import CHAIN_FILE, INDEX_FILE, Node, verify
from dii.errors import BlockDamaged, DiiError, StoreBroken
from dii.ledger.reader import Reader
from tests.soak.chain import FAST, GENESIS, Undisturbed, produce, shrink

BLOCKS = 40


def originals(folder: Path) -> list[Path]:
    """Make homes of a chain: closed, and with its last blocks in the log as a crash leaves them."""
    closed, crashed = folder / "closed", folder / "crashed"
    closed.mkdir()
    with closing(Node(GENESIS, closed)) as node:
        for _ in range(BLOCKS // 2):
            produce(node)
    with closing(Node(GENESIS, closed)) as node:
        for _ in range(BLOCKS // 2):
            produce(node)
        node.index.flush()
        shutil.copytree(closed, crashed)
        (crashed / "chain.sqlite-shm").unlink()
    return [closed, crashed]


def contents(home: Path) -> dict[str, bytes]:
    """Return the content of a chain's files, without SQLite's shared memory."""
    found = (path for path in home.glob("chain.*") if path.suffix != ".sqlite-shm")
    return {path.name: data for path in found if (data := path.read_bytes())}


def outcome(chain: Undisturbed, home: Path, *, readonly: bool) -> str:
    """Check a home; return the text of an error, or that all is well."""
    before = contents(home)
    try:
        view = (
            Reader(home / CHAIN_FILE, home / INDEX_FILE, GENESIS.hash)
            if readonly
            else Node(GENESIS, home)
        )
    except DiiError as error:
        assert contents(home) == before, "what was found damaged was written to"
        return "named at opening" if isinstance(error, BlockDamaged) else "found at opening"
    with closing(view):
        assert view.header is not None
        assert (view.height, view.header.height) == (BLOCKS - readonly, BLOCKS)
        assert view.state.pairs() == chain.pairs[view.height]
        assert view.state.committed_root == chain.rows[view.height][2]
        for height, _, _, block, commit in chain.rows[: BLOCKS + 1]:
            with suppress(BlockDamaged, StoreBroken):  # also where the pages above it are damaged
                assert view.store.block(height) == block
                assert view.store.commit(height) == commit
        try:
            if isinstance(view, Node):
                produce(view)
                assert list(view.store.blocks(BLOCKS + 1)) == chain.rows[BLOCKS + 1 :]
            assert verify(GENESIS, view.store).app_hash == chain.rows[view.store.height][2]
        except DiiError as error:
            return "named later" if isinstance(error, BlockDamaged) else "found later"
    return "harmless"


def flips(chain: Undisturbed, count: int, seed: int) -> Counter[str]:
    """Flip one bit, again and again; return the outcomes."""
    draw, outcomes = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        homes, home = originals(Path(folder)), Path(folder, "home")
        chain.reach(BLOCKS + 1)
        for number in range(count):
            original = homes[number % 2]
            shutil.copytree(original, home)
            name, sound = draw.choice(sorted(contents(home).items()))
            data = bytearray(sound)
            # Half of them near a page's beginning, where its structure is.
            page = draw.randrange(0, len(data), 4096)
            place = min(len(data) - 1, page + draw.randrange(draw.choice((48, 4096))))
            data[place] ^= 1 << draw.randrange(8)
            (home / name).write_bytes(data)
            readonly = draw.random() < 0.3
            try:
                what = outcome(chain, home, readonly=readonly)
            except BaseException:
                print(f"flip {number} of seed {seed}: {original.name}/{name}, byte {place}")
                raise
            outcomes[what] += 1
            shutil.rmtree(home)
    return outcomes


def main(count: int, seed: int = 7) -> None:
    """Run and print the outcomes."""
    shrink()
    outcomes = flips(Undisturbed(), count, seed)
    print(f"flipped {count} bits:", ", ".join(f"{n} {what}" for what, n in outcomes.most_common()))
