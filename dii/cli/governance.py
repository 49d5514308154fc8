"""Verbs of validators: ``propose`` changes of the network, and ``vote`` on them.

``dii list proposals`` shows the pending ones, and what each would change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import dii
from dii.cli import screen, tables
from dii.cli.draft import policy_of, rule_of
from dii.cli.options import Amount, Gateway, Key, Natural, Scope, command
from dii.cli.screen import Answer
from dii.cli.verbs import verb, writing

if TYPE_CHECKING:
    from dii.application.actions import Action

By = Annotated[str, {"metavar": "NAME", "help": "Validator who signs."}]

Repeated = Annotated[list[str], typer.Option()]

app = typer.Typer()
propose = typer.Typer(help="Propose changes for validators to vote on.", no_args_is_help=True)
app.add_typer(propose, name="propose")


@verb(propose, writing)
def stream(
    network: dii.Network,
    name: str,
    rule: str | None = None,
    policy: str | None = None,
    rest: str | None = None,
    scope: str | None = None,
    by: By = "validator",
) -> Answer:
    """Add a stream, or change one; options that are not given stay as they are.

    Parameters
    ----------
    rule
        NAME or NAME:parameter=value,...
    policy
        NAME:parameter=value,...
    rest
        A later stream, treasury, or nobody: not minted.
    scope
        Scope of a new stream.
    """
    change = network.stream_change(
        name,
        scope=scope,
        rule=rule_of(rule) if rule else None,
        policy=policy_of(policy) if policy else None,
        rest=rest,
    )
    return _proposed(network, by, change)


@verb(propose, writing)
def remove_stream(
    network: dii.Network, name: str, scope: Scope = "main", by: By = "validator"
) -> Answer:
    """End a stream; the remainder of its rounding goes to the treasury."""
    return _proposed(network, by, dii.actions.RemoveStream(scope, name))


@verb(propose, writing)
def scope(
    network: dii.Network,
    name: str,
    reporter: Repeated,
    metric: Repeated,
    usage: list[str] | None = None,
    by: By = "validator",
) -> Answer:
    """Add a scope, or change its reporters and what they report.

    Parameters
    ----------
    reporter
        Name or address; repeat it.
    metric
        A reported metric; repeat it.
    usage
        A reported usage of applications; repeat it.
    """
    who = tuple(map(network.home.address, reporter))
    action = dii.actions.SetScope(name, who, tuple(metric), tuple(usage or ()))
    return _proposed(network, by, action)


@verb(propose, writing)
def validator(network: dii.Network, key: Key, power: Natural, by: By = "validator") -> Answer:
    """Give a validator voting power, or take it away.

    Parameters
    ----------
    power
        Voting power; 0 removes it.
    """
    return _proposed(network, by, dii.actions.SetValidator(network.home.public_key(key), power))


@verb(propose, writing)
def gas_price(
    network: dii.Network, price: Natural, schedule: Natural = 0, by: By = "validator"
) -> Answer:
    """Set the price of gas.

    Parameters
    ----------
    price
        Price of a unit of gas, in smallest units.
    schedule
        Version of the gas schedule; 0: as it is.
    """
    version = schedule or network.parameters.gas_schedule
    return _proposed(network, by, dii.actions.SetGas(price, version))


@verb(propose, writing)
def spend(network: dii.Network, to: str, amount: Amount, by: By = "validator") -> Answer:
    """Pay from the treasury.

    Parameters
    ----------
    to
        Name or address.
    """
    receiver, smallest = network.home.address(to), network.currency.parse(amount)
    return _proposed(network, by, dii.actions.SpendTreasury(receiver, smallest))


@verb(propose, writing)
def deny(
    network: dii.Network,
    gateway: Gateway,
    until: Natural,
    evidence: Annotated[Path, typer.Option()],
    scope: Scope = "main",
    by: By = "validator",
) -> Answer:
    """Exclude a gateway from earning until an epoch.

    Parameters
    ----------
    until
        First epoch in which it earns again.
    evidence : FILE
        File with the evidence; its hash goes along.
    """
    with evidence.open("rb") as file:  # evidence may be larger than the memory
        digest = hashlib.file_digest(file, "sha256").digest()
    network.bind()  # once bound, a name is never resolved to another
    action = dii.actions.DenyGateway(scope, network.gateway(gateway), digest, until)
    return _proposed(network, by, action)


@verb(app, writing)
def vote(
    network: dii.Network, number: Natural, what: Literal["yes", "no"], by: By = "validator"
) -> Answer:
    """Vote on a proposal; the last vote counts.

    Parameters
    ----------
    number
        Number of the proposal.
    what
        Approve it or not.
    """
    network.vote(number, by=by, approve=what == "yes")
    return _standing(network, number)


def _proposed(network: dii.Network, by: str, action: Action) -> Answer:
    """Propose an action, and return the state of the proposal."""
    concern = network.concerns(action)
    return _standing(network, network.propose(action, by=by), concern)


def _standing(network: dii.Network, number: int, concern: str = "") -> Answer:
    """Return the state of a proposal."""
    row = network.proposals().set_index("number", drop=False).loc[number].to_dict()

    def shown() -> Iterator[screen.Shown]:
        if concern:
            screen.note(concern)
        yield tables.proposal(row)
        if row["status"] == "open" and not row["no"]:
            how = command(network.home.folder, "vote", str(number), "yes")
            yield partial(screen.say, f"# {how}", "dim")

    return Answer(row | {"concern": concern}, shown())
