"""Simulated validators, their faults, and the checker of what they decided."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import pytest

from dii import crypto
from dii.consensus.tendermint import Decide, Proposal, Rotation, Timeouts
from dii.crypto import SigningKey
from dii.errors import NoProgress
from dii.ledger.block import PRECOMMIT, PREVOTE, Vote
from dii.testing import (
    Behaviour,
    Crash,
    Faults,
    Partition,
    Simulation,
    Violation,
    amnesia,
    check,
)
from dii.units import SECOND
from tests import runs
from tests.counter import Committee, Counter
from tests.require import ROOT

ONES = (1, 1, 1, 1)
SEED = 7


def simulation(
    powers: Sequence[int] = ONES, *, numbers: int = 9, seed: int = SEED, **arguments: Any
) -> Simulation:
    """Return validators that count, with some numbers to include."""
    run = Simulation(lambda _: Counter(), powers, seed=seed, **arguments)
    for number in range(1, numbers + 1):
        run.submit(b"%d" % number)
    return run


def chain(run: Simulation, number: int = 0) -> list[bytes]:
    """Return the hashes of a validator's blocks."""
    return [decision.proposal.value for decision in run.replicas[number].disk.blocks]


# --- seeded runs ---------------------------------------------------------------------------------


def test_a_hundred_seeded_runs_break_nothing_and_show_everything() -> None:
    seen, failures = Tally[str](), []
    for seed in range(100):
        try:
            seen += runs.draw(seed).play()
        except AssertionError as error:
            failures.append(str(error))
    assert not failures
    assert all(seen[feature] >= 5 for feature in runs.FEATURES), seen


def test_a_failing_run_names_its_seed_and_the_command_that_repeats_it() -> None:
    run = runs.draw(4)
    run.audit = lambda app: f"counted {app.count}" if app.count else ""
    expected = r"seed 4: block 1: counted 2; repeat with: python -m tests.runs 4"
    with pytest.raises(AssertionError, match=expected):
        run.play()


def test_the_same_seed_gives_the_same_events_in_another_process() -> None:
    seeds = {runs.draw(seed).schedule: str(seed) for seed in range(40)}
    assert seeds.keys() == {"random", *runs.SCHEDULES}
    shown = []
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "tests.runs", *seeds.values()]
        environment = {"PYTHONHASHSEED": seed}
        shown.append(subprocess.check_output(command, cwd=ROOT, env=environment, text=True))
    assert shown[0] == shown[1]
    assert shown[0].count("no violation") == len(seeds)


def test_another_seed_gives_other_events() -> None:
    one, other = simulation(seed=1), simulation(seed=2)
    for run in (one, other):
        run.until(height=2)
    assert [event.time for event in one.events] != [event.time for event in other.events]


def test_drawn_runs_are_of_every_kind() -> None:
    drawn = [runs.draw(seed) for seed in range(300)]
    powers = [run.simulation.powers for run in drawn]
    assert {len(one.simulation.replicas) for one in drawn} == {4, 5, 6, 7}
    assert {one.height for one in drawn} == {5, 6, 7, 8, 9, 10}
    assert all(3 * byzantine_power(one) <= sum(one.simulation.powers.values()) for one in drawn)
    assert sum(3 * byzantine_power(one) == sum(one.simulation.powers.values()) for one in drawn) > 9
    assert sum(sum(one.values()) % 3 == 0 for one in powers) >= 90
    assert sum(one.schedule == "random" for one in drawn) == 150
    faults = [one.simulation.faults for one in drawn]
    behaviours = {kind for one in faults for node in one.byzantine for kind in one.behaviours(node)}
    assert behaviours == set(Behaviour)
    for drawn_fault in (
        [one.loss for one in faults],
        [one.duplicate for one in faults],
        [one.partitions for one in faults],
        [crash for one in faults for crash in one.crashes if crash.at is not None],
        [crash for one in faults for crash in one.crashes if crash.write and crash.lost],
        [crash for one in faults for crash in one.crashes if crash.write and not crash.lost],
    ):
        assert sum(map(bool, drawn_fault)) > 15


def byzantine_power(run: runs.Run) -> int:
    simulation = run.simulation
    return sum(
        simulation.powers.get(simulation.replicas[node].key.public_key, 0)
        for node in simulation.faults.byzantine
    )


# --- an application of another kind --------------------------------------------------------------


def test_the_counting_application_takes_nothing_from_dii() -> None:
    tree = ast.parse((ROOT / "tests/counter.py").read_bytes())
    modules = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert {name.partition(".")[0] for name in modules} <= sys.stdlib_module_names
    run = simulation()
    run.until(height=2)
    check(run)
    assert [one.app.count for one in run.replicas] == [9] * 4


def test_an_application_that_kept_its_state_executes_only_what_it_lacks() -> None:
    class Kept(Counter):
        def finalize_block(self, height: int, *others: Any) -> Any:
            assert height == self.height + 1
            return super().finalize_block(height, *others)

    apps: dict[int, Kept] = {}
    faults = Faults(crashes=[Crash(1, write=9), Crash(1, write=16, lost=False), Crash(2, at=4.0)])
    run = Simulation(
        lambda number: apps.setdefault(number, Kept()), ONES, faults=faults, seed=SEED
    )  # fmt: skip
    run.until(height=5)
    assert sum(event.kind == "restart" for event in run.events) == 3
    assert {one.head.app_hash for one in run.replicas if one.height == run.height} == {
        run.replicas[0].head.app_hash
    }


# --- time and messages ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [4, 7])
def test_messages_of_a_height_are_those_of_the_formula_without_faults(count: int) -> None:
    run = simulation([1] * count)
    run.until(height=6)
    for height in range(1, 6):
        sent = Tally(
            event.kind
            for event in run.events
            if event.height == height and event.target is not None
        )
        votes = count * (count - 1)
        assert sent == {"proposal": count - 1, "prevote": votes, "precommit": votes}


def test_messages_take_as_long_as_the_faults_say() -> None:
    run = simulation(faults=Faults(delay=(0.2, 0.3)), timeouts=Timeouts(propose=5 * SECOND))
    run.until(height=3)
    cast: dict[tuple[object, ...], int] = {}
    for event in run.events:
        key = event.kind, event.height, event.round, event.source
        if event.target is None:
            cast.setdefault(key, event.time)
        elif key in cast:
            assert (event.time - cast[key]) / SECOND >= 0.2


def test_block_times_are_the_median_of_the_precommits_before() -> None:
    run = simulation()
    run.until(height=4)
    blocks = [decision.proposal.block for decision in run.reader.disk.blocks]
    assert blocks[0].header.time == run.start
    for block in blocks[1:]:
        times = [vote.time for vote in block.last_commit]
        low, high = sorted(times)[(len(times) - 1) // 2], sorted(times)[len(times) // 2]
        assert low <= block.header.time <= high
        assert low == block.header.time or median(times) == block.header.time


def test_a_partition_lets_no_message_through_and_the_larger_part_goes_on() -> None:
    parted = Partition(0.0, 8.0, ((0, 1, 2), (3,)))
    run = simulation(faults=Faults(partitions=[parted]))
    run.until(lambda: run.seconds >= 8)
    for event in run.events:
        if event.source is not None and event.target is not None and event.source != event.target:
            apart = (event.source == 3) != (event.target == 3)
            assert event.kind.startswith("lost ") == apart
    assert run.replicas[0].head.height >= 3
    assert run.replicas[3].head.height == 0
    run.until(height=run.height)
    check(run)


def test_nobody_goes_on_in_a_partition_without_two_thirds_until_it_ends() -> None:
    parted = Partition(2.0, 60.0, ((0, 1), (2, 3)))
    run = simulation(faults=Faults(partitions=[parted]))
    run.until(lambda: run.seconds >= 3)
    stopped = [one.head.height for one in run.replicas]
    run.until(lambda: run.seconds >= 60)
    assert [one.head.height for one in run.replicas] == stopped
    run.until(height=max(stopped) + 3)
    check(run)


@pytest.mark.parametrize(
    ("powers", "faults", "says"),
    [
        (ONES, Faults(partitions=[Partition(0, 1e9, ((0, 1), (2, 3)))]), "2 parted"),
        (ONES, Faults(partitions=[Partition(0, 1e9, ((0, 1, 2), (3,)))]), "3 parted"),
        (ONES, Faults(crashes=[Crash(n, at=1, down=1e9) for n in (1, 2)]), "2 down"),
        (
            (2, 1, 1, 1),
            Faults(byzantine={0: Behaviour.WITHHOLD, 1: Behaviour.WITHHOLD}, loss=1.0),
            "2 Byzantine",
        ),
    ],
)
def test_a_run_that_cannot_go_on_ends(powers: Sequence[int], faults: Faults, says: str) -> None:
    run = simulation(powers, faults=faults, timeouts=replace(runs.TIMEOUTS[1], growth=0))
    with pytest.raises(NoProgress, match=says):
        run.until(height=9)


def test_timeouts_grow_past_any_delay() -> None:
    short = Timeouts(SECOND // 10, SECOND // 10, SECOND // 10, SECOND // 10, 0)
    slow = Faults(delay=(0.5, 0.8))
    run = simulation(faults=slow, timeouts=short)
    run.until(height=2)
    check(run)
    assert max(event.round for event in run.events) > 3
    stuck = simulation(faults=slow, timeouts=replace(short, growth=0))
    with pytest.raises(NoProgress, match="longer than timeouts"):
        stuck.until(height=2)


def test_a_jump_of_time_moves_blocks_and_leaves_messages_on_their_way() -> None:
    faults = Faults(crashes=[Crash(1, at=30.0)])
    run = simulation(faults=faults)
    run.until(height=2)
    hour = 3600 * SECOND
    run.jump(run.start + hour)
    run.until(height=6)
    check(run)
    times = [decision.proposal.block.header.time for decision in run.reader.disk.blocks]
    assert times[1] < 60 * SECOND
    assert hour < times[5] < hour + 60 * SECOND
    moments = [event.time for event in run.events]
    assert moments == sorted(moments)
    assert any(event.kind == "restart" for event in run.events)


def test_transactions_that_are_withdrawn_come_in_no_block() -> None:
    run = simulation(numbers=3)
    run.withdraw([b"3"])
    run.until(height=2)
    assert [one.app.count for one in run.replicas] == [2] * 4


# --- validators ----------------------------------------------------------------------------------


def committee(powers: Sequence[int], *changes: tuple[int, int], **arguments: Any) -> Simulation:
    """Return validators of which the first numbers change some."""
    keys = [SigningKey.derive(SEED, f"validator-{number}") for number in range(len(powers))]
    public = [key.public_key for key in keys]
    run = Simulation(
        lambda _: Committee(public, powers), powers, seed=SEED, keys=keys, **arguments
    )  # fmt: skip
    for number, (node, power) in enumerate(changes, 1):
        run.submit(b"%d %s %d" % (number, public[node].hex().encode(), power))
    return run


def test_a_change_of_validators_acts_two_blocks_later() -> None:
    run = committee((1, 1, 1, 1, 0), (4, 3), (0, 0))
    run.until(height=6)
    check(run)
    powers = [[*run.validators[height].values()] for height in range(1, 6)]
    assert [sum(one) for one in powers] == [4, 4, 6, 6, 6]
    newcomer, leaver = (run.replicas[number].key.public_key for number in (4, 0))
    votes = Tally((vote.public_key, vote.height > 2) for vote in run.votes)
    assert votes[newcomer, True] > 5
    assert votes[newcomer, False] == 0
    assert votes[leaver, True] == 0
    assert votes[leaver, False] == 4


def test_misbehaviour_reaches_the_application_of_every_replica_once() -> None:
    run = committee((2, 2, 2, 1), faults=Faults(byzantine={3: Behaviour.EQUIVOCATE}))
    run.until(height=12)
    check(run)
    blocks = [decision.proposal.block for decision in run.reader.disk.blocks]
    given = [
        (evidence.first.public_key, evidence.first.height)
        for block in blocks
        for evidence in block.evidence
    ]
    liar = run.replicas[3].key.public_key
    assert given
    assert {key for key, _ in given} == {liar}
    assert len(given) == len(set(given))
    first = next(block.header.height for block in blocks if block.evidence)
    assert liar in run.validators[first + 1]
    assert liar not in run.validators[first + 2]
    assert not any(
        evidence.first.height > first + 1 for block in blocks for evidence in block.evidence
    )


# --- crashes -------------------------------------------------------------------------------------


def hold_proposals(message: Any, sender: int, recipient: int, seconds: float) -> float | None:
    """Keep the first proposal from validators 2 and 3, so that 0 and 1 vote otherwise."""
    held = isinstance(message, Proposal) and message.height == message.round + 1 == 1
    return None if held and recipient > 1 and seconds < 4 else 0.0


def test_a_crash_at_every_write_loses_nothing_that_was_sent() -> None:
    def run_with(*crashes: Crash) -> Simulation:
        return simulation(faults=Faults(crashes=crashes, direct=hold_proposals))

    calm = run_with()
    calm.until(height=3)
    assert max(event.round for event in calm.events) > 0
    writes = calm.replicas[1].disk.writes
    assert writes > 12
    for write in range(1, writes):
        for lost in (True, False):
            run = run_with(Crash(1, write=write, lost=lost))
            run.until(height=4)
            check(run)
            assert [event.node for event in run.events if event.kind == "restart"] == [1]
            assert not run.accused, "it signed again what it had signed"
            assert not amnesia(run)
            sent = {(vote.public_key, vote.kind, vote.height, vote.round) for vote in run.votes}
            assert len(sent) == len(run.votes)


def test_a_crash_at_two_writes_and_in_all_validators_at_once_loses_no_decision() -> None:
    crashes = [Crash(node, at=9.0) for node in range(4)]
    run = simulation(faults=Faults(crashes=[*crashes, Crash(0, write=4), Crash(0, write=5)]))
    run.until(lambda: run.seconds > 8.9)
    before = chain(run, 1)
    assert before
    run.until(height=len(before) + 2)
    check(run)
    assert chain(run, 1)[: len(before)] == before
    assert sum(event.kind == "restart" for event in run.events) == 6


def test_a_validator_that_lost_its_vote_before_sending_may_vote_again() -> None:
    run = simulation(faults=Faults(crashes=[Crash(1, write=1)], loss=0.2))
    run.until(height=3)
    check(run)
    assert sum(vote.public_key == run.replicas[1].key.public_key for vote in run.votes) > 3


# --- Byzantine validators ------------------------------------------------------------------------


def with_byzantine(
    *behaviours: Behaviour, powers: Sequence[int] = ONES, height: int = 8
) -> Simulation:
    """Return a run in which the last validator is Byzantine."""
    run = simulation(powers, faults=Faults(byzantine={3: behaviours}))
    run.until(height=height)
    check(run)
    return run


def test_an_equivocator_is_named_by_evidence_in_a_block() -> None:
    run = with_byzantine(Behaviour.EQUIVOCATE)
    liar = run.replicas[3].key.public_key
    found = [
        evidence
        for decision in run.reader.disk.blocks
        for evidence in decision.proposal.block.evidence
    ]
    assert {one.first.public_key for one in found} == {liar}
    assert {one.first.public_key for _, one in run.accused} == {liar}
    chain_ = run.chain
    for vote in (found[0].first, found[0].second):
        assert crypto.verify(liar, vote.message(chain_), vote.signature)


def test_a_validator_that_withholds_costs_at_most_its_own_rounds() -> None:
    run = with_byzantine(Behaviour.WITHHOLD)
    received = Tally(
        event.source for event in run.events if event.kind == "prevote" and event.target is not None
    )
    assert received[3] < 0.8 * min(received[node] for node in range(3))


def test_an_invalid_block_is_prevoted_by_nobody_and_another_body_hides_no_block() -> None:
    run = with_byzantine(Behaviour.INVALID, height=20)
    wrong = {
        event.value
        for event in run.events
        if event.kind == "proposal" and event.node == 3 and event.target is None
    } - set(chain(run))
    assert wrong
    honest = [one.key.public_key for one in run.replicas[:3]]
    assert not any(vote.header in wrong for vote in run.votes if vote.public_key in honest)
    assert any(
        decision.proposal.public_key == run.replicas[3].key.public_key
        for decision in run.reader.disk.blocks
    ), "some of its blocks are good, but for the body that some validators get first"


def test_messages_of_other_heights_chains_and_names_change_nothing() -> None:
    run = with_byzantine(Behaviour.REPLAY)
    signed = {vote.signature for vote in run.votes}
    known = [message for one in run.replicas for message in one.known.values()]
    assert known
    for message in known:
        if isinstance(message, Vote):
            assert message.signature in signed
    for replica in run.replicas:
        for decision in replica.disk.blocks:
            assert {vote.signature for vote in decision.commit} <= signed


@pytest.mark.parametrize("powers", [ONES, (2, 2, 2, 3)], ids=["a quarter", "a third"])
def test_a_liar_about_time_moves_block_times_by_less_than_the_pace_of_blocks(
    powers: Sequence[int],
) -> None:
    run = with_byzantine(Behaviour.LIE_ABOUT_TIME, powers=powers)
    lies = [
        abs(vote.time - run.now)
        for vote in run.votes
        if vote.public_key == run.replicas[3].key.public_key
    ]
    assert max(lies) > 600 * SECOND
    decided = {
        event.height: event.time
        for event in reversed(run.events)
        if event.kind == "decide" and event.node < 3
    }
    for decision in run.reader.disk.blocks[1:]:
        header = decision.proposal.block.header
        assert decided[header.height - 1] - 5 * SECOND <= header.time <= decided[header.height]


def test_amnesia_is_attributed_from_the_log_of_votes_and_to_nobody_else() -> None:
    def directed(message: Any, sender: int, recipient: int, seconds: float) -> float | None:
        """Have validator 3 alone see the quorum of round 0; then all see another proposal."""
        vote = isinstance(message, Vote) and message.height == 1 and message.round == 0
        if vote and message.kind == PREVOTE and message.public_key == keys[3]:
            return None if recipient != 3 and seconds < 9 else 0.0
        if isinstance(message, Proposal) and (message.height, message.round) == (1, 0):
            return None if recipient == late and seconds < 3.3 else 0.0
        return 0.0

    blamed = {}
    for behaviour in ((), (Behaviour.AMNESIA,)):
        faults = Faults(byzantine={3: behaviour} if behaviour else {}, direct=directed)
        run = simulation(faults=faults, seed=3)
        keys = [one.key.public_key for one in run.replicas]
        first = keys.index(Rotation.begin(run.powers).proposer)
        late = next(node for node in range(3) if node != first)
        run.until(height=2)
        check(run)
        assert any(
            vote.kind == PRECOMMIT and vote.header and (vote.height, vote.round) == (1, 0)
            for vote in run.votes
            if vote.public_key == keys[3]
        ), "it precommitted in round 0"
        blamed[bool(behaviour)] = amnesia(run)
    assert blamed == {False: set(), True: {3}}


def test_a_prevote_with_a_proof_since_the_lock_is_no_amnesia() -> None:
    run = simulation()
    keys = [one.key.public_key for one in run.replicas]
    one, other = bytes([1]) * 32, bytes([2]) * 32

    def vote(kind: int, number: int, value: bytes | None, voter: int) -> Vote:
        return Vote(kind, 1, number, value, 1, keys[voter])

    run.validators[1] = run.powers
    lock, against = vote(PRECOMMIT, 1, one, 0), vote(PREVOTE, 3, other, 0)
    for number, voters, blamed in (
        (2, (1, 2, 3), set()),
        (1, (1, 2, 3), set()),
        (0, (1, 2, 3), {0}),  # older than the lock
        (3, (1, 2, 3), {0}),  # no earlier than the vote
        (2, (1, 2), {0}),  # no quorum
    ):
        proof = [vote(PREVOTE, number, other, voter) for voter in voters]
        run.votes = [lock, *proof, against]
        assert amnesia(run) == blamed, (number, voters)
    for innocent in (
        vote(PREVOTE, 3, one, 0), vote(PREVOTE, 3, None, 0), vote(PREVOTE, 1, other, 0)
    ):  # fmt: skip
        run.votes = [lock, innocent]
        assert amnesia(run) == set()


# --- above a third -------------------------------------------------------------------------------


def test_above_a_third_a_directed_schedule_forks_and_evidence_names_the_equivocators() -> None:
    def directed(message: Any, sender: int, recipient: int, seconds: float) -> float | None:
        """Keep 0 and 1 apart, and let only the equivocators propose; they stay to the end."""
        undecided = any(one.height == message.height for one in run.replicas[:2])
        if recipient > 1 and undecided and isinstance(message, Vote):
            return None if message.kind == PRECOMMIT and message.header else 0.0
        other = {0: keys[1], 1: keys[0]}.get(recipient)
        proposal = isinstance(message, Proposal) and message.public_key in keys[:2]
        return None if proposal or message.public_key == other else 0.0

    both = {2: Behaviour.EQUIVOCATE, 3: Behaviour.EQUIVOCATE}
    run = simulation(faults=Faults(byzantine=both, direct=directed), numbers=400)
    keys = [one.key.public_key for one in run.replicas]

    def forked() -> bool:
        return any(one != other for one, other in zip(chain(run, 0), chain(run, 1)))

    run.until(forked)
    with pytest.raises(Violation, match=r"seed 7: validators \d and \d decide differently"):
        check(run)
    accused = {evidence.first.public_key for _, evidence in run.accused}
    assert accused == set(keys[2:])


# --- the checker of histories --------------------------------------------------------------------


class Lenient(Counter):
    """Accepts any numbers."""

    def process_proposal(self, wires: Sequence[bytes], time: int) -> bool:
        return b"refused" not in wires


def planted(run: Simulation, wires: Sequence[bytes], *, late: int = 1, **header: Any) -> None:
    """Add a block with faults to all chains, which all validators sign."""
    head, reader = run.reader.head, run.reader
    last = head.header
    assert last is not None
    commit = [vote for _, vote in sorted(reader.commit.items())]
    block = head.block(last.time + late, wires, reader.key.public_key, commit)
    block = replace(block, header=replace(block.header, **header))
    votes = [
        Vote(
            PRECOMMIT, block.header.height, 0, block.header.hash, run.now, one.key.public_key
        ).signed(run.chain, one.key)
        for one in run.replicas
    ]  # fmt: skip
    proposal = Proposal(block.header.height, 0, -1, block, reader.key.public_key)
    for replica in run.replicas:
        replica.disk.blocks.append(Decide(proposal, tuple(votes)))


@pytest.fixture
def decided() -> Simulation:
    """A run of three heights, of which all validators know all."""
    run = Simulation(lambda _: Lenient(), ONES, seed=SEED)
    for number in range(1, 10):
        run.submit(b"%d" % number)
    run.until(height=3)
    assert {len(replica.disk.blocks) for replica in run.replicas} == {3}
    check(run)
    return run


def test_a_planted_block_without_faults_is_no_violation(decided: Simulation) -> None:
    planted(decided, [b"10"])
    check(decided)


@pytest.mark.parametrize(
    ("wires", "changes", "says"),
    [
        ([b"5"], {}, "a transaction is in the chain twice"),
        ([b"10", b"10"], {}, "a transaction is in the chain twice"),
        ([b"refused"], {}, "the application does not accept it"),
        ([b"10"], {"late": 0}, "its time is not later"),
        ([b"10"], {"app_hash": bytes(32)}, "its app_hash is not the state before it"),
        ([b"10"], {"previous": bytes(32)}, "its header does not follow"),
        ([b"10"], {"height": 9}, "its header says height 9"),
        ([b"10"], {"validators": bytes(32)}, "its validators are not those of the state"),
        ([b"10"], {"last_commit": bytes(32)}, "its last commit is not that of its header"),
    ],
)
def test_a_block_against_the_rules_is_a_violation_though_all_signed_it(
    decided: Simulation, wires: list[bytes], changes: dict[str, Any], says: str
) -> None:
    planted(decided, wires, **changes)
    with pytest.raises(Violation, match=f"^seed 7: block 4: {says}"):
        check(decided)


def test_different_decisions_are_a_violation_with_the_numbers_of_the_validators(
    decided: Simulation,
) -> None:
    blocks = decided.replicas[2].disk.blocks
    blocks[1] = blocks[2]
    with pytest.raises(Violation, match="validators 2 and 0 decide differently at height"):
        check(decided)


def test_a_commit_of_any_honest_validator_without_two_thirds_is_a_violation(
    decided: Simulation,
) -> None:
    blocks = decided.replicas[2].disk.blocks
    blocks[1] = replace(blocks[1], commit=blocks[1].commit[:2])
    with pytest.raises(Violation, match="block 2 of validator 2: signatures of 2 of 4 voting"):
        check(decided)


def test_a_forged_signature_in_a_commit_is_a_violation(decided: Simulation) -> None:
    for replica in decided.replicas:
        decision = replica.disk.blocks[1]
        forged = [replace(vote, signature=bytes(64)) for vote in decision.commit]
        replica.disk.blocks[1] = replace(decision, commit=tuple(forged))
    with pytest.raises(Violation, match="block 2 of validator 0: signatures of 0 of 4 voting"):
        check(decided)


def test_the_audit_sees_the_application_after_every_block(decided: Simulation) -> None:
    heights = []
    check(decided, lambda app: heights.append(app.height) or "")
    assert heights == [1, 2, 3]
    with pytest.raises(Violation, match="block 2: money is missing"):
        check(decided, lambda app: "money is missing" if app.height == 2 else "")


def test_decisions_of_byzantine_validators_do_not_count(decided: Simulation) -> None:
    decided.replicas[3].honest = False
    decided.replicas[3].disk.blocks.clear()
    check(decided)


# --- messages that a network may bring -----------------------------------------------------------


def test_a_message_of_any_height_has_an_answer() -> None:
    run = simulation()
    run.until(height=2)
    key, replica = run.replicas[1].key, run.replicas[0]
    state = run.replicas[0].machine
    for height in (0, 1, replica.head.height, replica.height, replica.height + 1, 2**40):
        for kind in (PREVOTE, PRECOMMIT):
            vote = Vote(kind, height, 77, None, 1, key.public_key).signed(run.chain, key)
            replica.receive(vote)
    assert replica.machine is state
    assert state is None or state.round == 0
    run.until(height=5)
    check(run)
    begin = simulation()
    begin.until(lambda: begin.replicas[0].up)
    begin.replicas[0].receive(Vote(PRECOMMIT, 0, 0, None, 1, key.public_key).signed(run.chain, key))
    begin.until(height=1)


def test_a_body_under_anothers_header_is_no_proposal() -> None:
    run = simulation()
    run.until(lambda: run.seconds > 0)
    proposer = next(event.node for event in run.events if event.kind == "proposal")
    replica = run.replicas[(proposer + 1) % 4]
    proposal = next(iter(run.replicas[proposer].known.values()))
    assert isinstance(proposal, Proposal)
    wrong = replace(proposal, block=replace(proposal.block, transactions=(b"1",)))
    assert crypto.verify(wrong.public_key, wrong.message(run.chain), wrong.signature)
    replica.receive(wrong)
    assert wrong.signature not in replica.known
    replica.receive(proposal)
    assert replica.known[proposal.signature] is proposal
    run.until(height=2)
    check(run)


def test_votes_that_no_validator_signed_for_this_chain_are_not_taken() -> None:
    run = simulation()
    run.until(lambda: run.seconds > 0)
    one, key = run.replicas[0], run.replicas[1].key
    stranger = SigningKey.derive(99, "stranger")
    vote = Vote(PREVOTE, 1, 0, None, 1, key.public_key)
    for wrong in (
        vote,
        vote.signed(crypto.sha256(run.chain), key),
        vote.signed(run.chain, stranger),
        replace(vote, public_key=stranger.public_key).signed(run.chain, stranger),
    ):
        one.receive(wrong)
        assert one.lacks(wrong)
    good = vote.signed(run.chain, key)
    one.receive(good)
    assert not one.lacks(good)
