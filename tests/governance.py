"""A chain with four validators, and governance by them, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dii import Network, minting
from dii.application import BlockResult
from dii.application.actions import Action, SetStream
from dii.application.governance import standing, validators
from dii.application.messages import Propose, Vote
from dii.application.records import AGENDA, CHAIN, PROPOSALS, Proposal
from dii.crypto import SigningKey
from dii.minting import FixedEmission, Uptime
from dii.units import SECOND
from tests import chains
from tests.chains import EPOCH, gateway

DELAY = 2 * EPOCH
VOTING = 5 * EPOCH
V = [SigningKey.derive(7, f"validator {number}") for number in range(4)]
"""Four validators of 10, 20, 30 and 40 votes; none has money."""
UP = {gateway(1): [900_000], gateway(2): [100_000]}


class Chain(chains.Chain):
    """A chain with four validators, and governance by them."""

    def __init__(self, **changes: Any) -> None:
        powers = [
            {"public_key": key.public_key.hex(), "power": 10 * number}
            for number, key in enumerate(V, 1)
        ]
        rules = {
            "delay_seconds": DELAY // SECOND,
            "voting_seconds": VOTING // SECOND,
            "max_treasury_ppm": 1_000_000,
        }
        super().__init__(**{"validators": powers, "governance": rules, **changes})

    def proposal(self, number: int) -> Proposal:
        found = self.app.state.get(PROPOSALS, number)
        assert found is not None
        return found

    def standing(self, number: int) -> str:
        chain = self.app.state.get(CHAIN)
        assert chain is not None
        return standing(chain, self.proposal(number), self.time)

    def propose(self, action: Action, by: SigningKey = V[3]) -> int:
        agenda = self.app.state.get(AGENDA)
        (result,) = self.do(by, Propose(action))
        assert result.code == 0, result.detail
        return agenda.proposals if agenda else 0

    def vote(self, number: int, *voters: SigningKey, approve: bool = True) -> None:
        for key in voters:
            (result,) = self.do(key, Vote(number, approve))
            assert result.code == 0, result.detail

    def passes(self, action: Action) -> int:
        """Propose an action and let 90 of 100 approve it."""
        number = self.propose(action, by=V[2])
        self.vote(number, V[1], V[2], V[3])
        assert self.standing(number) == "passed"
        return number

    def decide(self, action: Action) -> BlockResult:
        """Pass an action, let its time come, and return the block that enacted it."""
        number = self.passes(action)
        result = self.block(time=self.proposal(number).acts)
        assert self.standing(number) == "enacted", result.rows["governance"]
        return result

    def fails(self, action: Action) -> str:
        """Pass an action that cannot be enacted; return the reason."""
        number = self.passes(action)
        result = self.block(time=self.proposal(number).acts)
        assert self.standing(number) == "failed"
        ((_, event, _, _, detail),) = result.rows["governance"]
        assert event == "failed"
        assert self.block().changed is False
        return str(detail)


def set_stream(
    name: str = "main",
    rule: minting.Rule | None = None,
    policy: minting.Policy | None = None,
    rest: str | None = None,
    scope: str = "main",
) -> SetStream:
    rule, policy = rule or Uptime(), policy or FixedEmission(500)
    return SetStream(scope, name, rule.spec(), policy.spec(), rest)


def powers(chain: Chain) -> dict[bytes, int]:
    return validators(chain.app.state)


def network(home: Path | None = None) -> Network:
    return Network.create(
        seed=7,
        home=home,
        start="2018-04-21",
        max_mint_per_epoch="20000 TTC",
        governance={"delay_seconds": 3600},
        allocations={"bob": "500 TTC"},
    )
