"""Tests of a replicated application: simulated validators under Tendermint, and their faults.

::

    from dii.testing import Behaviour, Faults, Simulation, check

    faults = Faults(loss=0.1, byzantine={3: Behaviour.EQUIVOCATE})
    run = Simulation(lambda number: Counter(), powers=[1, 1, 1, 1], faults=faults, seed=7)
    run.submit(b"1")
    run.until(height=5)
    check(run)

The application has the verbs of :class:`Abci`, with bytes in and out. Time is virtual and every
draw follows from the seed: the same arguments give the same run on any machine. It is an instrument
for study and for tests, not a network stack.
"""

from dii.testing.abci import Abci
from dii.testing.faults import Behaviour, Crash, Faults, Partition
from dii.testing.history import Violation, amnesia, check
from dii.testing.simulator import Event, Simulation

__all__ = [
    "Abci", "Behaviour", "Crash", "Event", "Faults", "Partition", "Simulation", "Violation",
    "amnesia", "check",
]  # fmt: skip
