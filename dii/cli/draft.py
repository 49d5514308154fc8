"""The verb that drafts a network, ``init``, and the notation of rules and policies."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

import dii
from dii.cli.options import bad, command, pairs
from dii.cli.screen import Answer
from dii.cli.verbs import here, verb

if TYPE_CHECKING:
    from dii.minting import Policy, Rule
    from dii.minting.spec import Versioned

V = TypeVar("V", bound="Versioned")

app = typer.Typer()

Seed = Annotated[
    int | None, {"min": 0, "help": "Make a laboratory network: its keys follow from this."}
]


@verb(app, here)
def init(
    home: Path,
    name: str = "ttn",
    symbol: str = "TTC",
    currency: str = "The Things Coin",
    decimals: int = 6,
    rule: str = "ShapleyTraffic",
    policy: str = "FixedEmission:amount=10000",
    allocate: list[str] | None = None,
    start: str | None = None,
    epoch_seconds: int = 86_400,
    gas_price: int = 1,
    seed: Seed = None,
    max_mint: str | None = None,
    delay: int | None = None,
    reporters: Annotated[int, {"min": 1, "max": 64}] = 1,
    site_radius: int = 0,
) -> Answer:
    """Make a network: genesis and keys.

    Rules and policies take their parameters after a colon, amounts in whole units:
    --rule Uptime:minimum_ppm=900000 --policy PerContribution:rate=0.01,cap=5000

    Parameters
    ----------
    name
        Short name of the chain.
    symbol
        Symbol of the currency.
    currency
        Name of the currency.
    decimals
        Digits after the point.
    rule : NAME[:P=V,...]
        Rule that measures contribution.
    policy : NAME[:P=V,...]
        Policy that sets the amount an epoch may mint.
    allocate : NAME=AMOUNT
        Opening balance of an account; repeatable.
    start : TIME
        Start of epoch 0; else the first day of the data.
    epoch_seconds
        Length of an epoch.
    gas_price
        Price of a unit of gas, in smallest units.
    max_mint
        Most that an epoch may ever mint; by default the policy's most.
    delay
        Seconds from a vote to its effect; by default a week.
    reporters
        Number of reporters; of n, (n - 1) / 3 may lie.
    site_radius : METRES
        Gateways within this distance count as one site; 0: none.
    """
    with dii.Network.create(
        name, symbol=symbol, currency=currency, decimals=decimals, seed=seed, home=home,
        rule=rule_of(rule), policy=policy_of(policy),
        allocations=pairs("--allocate", allocate, "bob=500"),
        start=start, epoch_seconds=epoch_seconds, gas_price=gas_price, reporters=reporters,
        site_radius_m=site_radius, max_mint_per_epoch=max_mint,
        governance=None if delay is None else {"delay_seconds": delay},
    ) as network:  # fmt: skip
        chain = network.genesis.chain_id if network.sealed else None
    return Answer(
        {"home": str(home), "chain": chain, "laboratory": seed is not None},
        f"made {chain or name} in {home}; next: {command(home, 'load')} FILE ...",
    )


def rule_of(text: str) -> Rule:
    """Read a rule written as ``NAME:parameter=value,...``."""
    return _chosen("--rule", text, dii.minting.RULES.values())


def policy_of(text: str) -> Policy:
    """Read a policy written as ``NAME:parameter=value,...``."""
    return _chosen("--policy", text, dii.minting.POLICIES.values())


def _chosen(option: str, text: str, kinds: Iterable[type[V]]) -> V:
    known = {kind.__name__: kind for kind in kinds}
    name, _, rest = text.partition(":")
    kind: Any = known.get(name)
    if kind is None:
        there = " or ".join(map(_usage, known.values()))
        raise bad(option, f"no {option.strip('-')} is called {name!r}; there is {there}")
    parameters: dict[str, int | str] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key not in {field.name for field in dataclasses.fields(kind)} or not value:
            raise bad(option, f"cannot read {part!r}; write it like {_usage(kind)}")
        if key not in kind.money and not value.isdecimal():
            raise bad(option, f"{key} is an integer, not {value!r}")
        parameters[key] = value if key in kind.money else int(value)
    try:
        made: V = kind(**parameters)
    except TypeError:
        raise bad(option, f"{name} needs more; write it like {_usage(kind)}") from None
    return made


def _usage(kind: type[Versioned]) -> str:
    parameters = ",".join(f"{field.name}=..." for field in dataclasses.fields(kind))
    return f"{kind.__name__}:{parameters}" if parameters else kind.__name__
