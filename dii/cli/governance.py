"""Verbs of validators: ``propose`` what the network should do, ``vote`` on it.

What is pending, and what it would change, is shown by ``dii list proposals``. Each command below
says only what its action is; what all have in common (who signs, where, how it is shown) is added
to their options by ``_proposes``.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer

import dii
from dii.cli import screen
from dii.cli.accounts import Amount, Key
from dii.cli.options import DEFAULT_HOME, Gateway, Home, Json, Scope, command
from dii.cli.tables import proposal
from dii.cli.telemetry import chosen

if TYPE_CHECKING:
    from dii.application.actions import Action

By = Annotated[str, typer.Option("--by", metavar="NAME", help="The validator who signs.")]

propose = typer.Typer(help="Propose what validators then vote on.", no_args_is_help=True)


def _proposes(name: str) -> Callable[[Callable[..., Action]], None]:
    """Make a command of a function from a network and options to an action."""

    def add(make: Callable[..., Action]) -> None:
        def run(
            by: By = "validator",
            home: Home = DEFAULT_HOME,
            as_json: Json = False,
            **options: object,
        ) -> None:
            with dii.Network.open(home) as network:
                action = make(network, **options)
                concern = network.concerns(action)
                number = network.propose(action, by=by)
                _show(network, number, home, concern, as_json)

        _, *own = inspect.signature(make).parameters.values()
        *common, _ = inspect.signature(run).parameters.values()
        run.__annotations__ = {one.name: one.annotation for one in (*own, *common)}
        hints = get_type_hints(run, include_extras=True)
        parameters = [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[one.name])
            for one in (*own, *common)
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__doc__ = make.__doc__
        propose.command(name)(run)

    return add


@_proposes("stream")
def _stream(
    network: dii.Network,
    name: str,
    rule: Annotated[str | None, typer.Option(help="NAME or NAME:parameter=value,...")] = None,
    policy: Annotated[str | None, typer.Option(help="NAME:parameter=value,...")] = None,
    rest: Annotated[
        str | None, typer.Option(help="A later stream, treasury, or nobody: not minted.")
    ] = None,
    scope: Annotated[str | None, typer.Option(help="Of a new stream.")] = None,
) -> Action:
    """Add a stream, or change how one pays; what is not given stays as it is."""
    made = rule and chosen("rule", rule, dii.minting.RULES.values())
    paid = policy and chosen("policy", policy, dii.minting.POLICIES.values())
    return network.stream_change(
        name, scope=scope, rule=made or None, policy=paid or None, rest=rest
    )


@_proposes("remove-stream")
def _remove_stream(network: dii.Network, name: str, scope: Scope = "main") -> Action:  # noqa: ARG001
    """End a stream; what rounding left in it goes to the treasury."""
    from dii.application.actions import RemoveStream  # noqa: PLC0415

    return RemoveStream(scope, name)


@_proposes("scope")
def _scope(
    network: dii.Network,
    name: str,
    reporter: Annotated[list[str], typer.Option(help="Name or address; repeat it.")],
    metric: Annotated[list[str], typer.Option(help="What they report; repeat it.")],
    usage: Annotated[list[str] | None, typer.Option(help="Of applications; repeat it.")] = None,
) -> Action:
    """Add a scope, or change who reports on it and what."""
    from dii.application.actions import SetScope  # noqa: PLC0415

    who = tuple(network.home.address(one) for one in reporter)
    return SetScope(name, who, tuple(metric), tuple(usage or ()))


@_proposes("validator")
def _validator(
    network: dii.Network,
    key: Key,
    power: Annotated[int, typer.Argument(min=0, help="Voting power; 0 removes it.")],
) -> Action:
    """Give a validator voting power, or take it away."""
    from dii.application.actions import SetValidator  # noqa: PLC0415

    return SetValidator(network.home.public_key(key), power)


@_proposes("gas-price")
def _gas_price(
    network: dii.Network,
    price: Annotated[int, typer.Argument(min=0, help="Smallest units a gas.")],
    schedule: Annotated[int, typer.Option(min=0, help="Version that counts it; 0: as it is.")] = 0,
) -> Action:
    """Set what a gas costs."""
    from dii.application.actions import SetGas  # noqa: PLC0415

    return SetGas(price, schedule or network.parameters.gas_schedule)


@_proposes("spend")
def _spend(
    network: dii.Network,
    to: Annotated[str, typer.Argument(help="Name or address.")],
    amount: Amount,
) -> Action:
    """Pay from the treasury."""
    from dii.application.actions import SpendTreasury  # noqa: PLC0415

    return SpendTreasury(network.home.address(to), network.currency.parse(amount))


@_proposes("deny")
def _deny(
    network: dii.Network,
    gateway: Gateway,
    until: Annotated[int, typer.Argument(min=0, help="First epoch in which it earns again.")],
    evidence: Annotated[Path, typer.Option(help="File that shows why; its hash goes along.")],
    scope: Scope = "main",
) -> Action:
    """Exclude a gateway from earning until an epoch."""
    from dii.application.actions import DenyGateway  # noqa: PLC0415

    with evidence.open("rb") as file:  # a film may be larger than the memory
        shown = hashlib.file_digest(file, "sha256").digest()
    network.bind()  # the name that is bound is the one to deny
    return DenyGateway(scope, network.gateway(gateway), shown, until)


def vote(
    number: Annotated[int, typer.Argument(min=0, help="Of the proposal.")],
    what: Annotated[str, typer.Argument(metavar="yes|no")],
    by: By = "validator",
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Approve a proposal, or do not; the last vote counts."""
    if what not in {"yes", "no"}:
        raise typer.BadParameter("say yes or no", param_hint="'yes|no'")
    with dii.Network.open(home) as network:
        network.vote(number, by=by, approve=what == "yes")
        _show(network, number, home, "", as_json)


def _show(network: dii.Network, number: int, home: Path, concern: str, as_json: bool) -> None:
    """Print how a proposal stands."""
    found = network.proposals().set_index("number", drop=False).loc[number].to_dict()
    if as_json:
        screen.json_out(found | {"concern": concern})
        return
    if concern:
        typer.echo(f"dii: note: {concern}", err=True)
    screen.facts(proposal(found))
    if found["status"] == "open" and not found["no"]:
        screen.say(f"# {command(home, 'vote', str(number), 'yes')}", "dim")
