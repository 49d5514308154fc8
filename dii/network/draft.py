"""Founding a network: from what people ask for to a genesis.

A network is asked for before everything about it is known: its first day and the metrics that its
reporter gives follow from the first telemetry, in a notebook from the first ``ingest``. Until then
it is a *draft*, a genesis with holes. A draft is checked at once by filling the holes with
stand-ins, so that whoever asks for the impossible hears it when asking, not days later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from dii import minting
from dii.application.records import MAX_REPORTERS
from dii.crypto import format_address
from dii.errors import GenesisError, RuleNotFed
from dii.genesis import AccountSection, CurrencySection, Genesis, SpecSection
from dii.minting import Policy, Rule
from dii.network.home import RESERVED, SCOPE, check_name
from dii.schema import METRICS, USAGE
from dii.units import SECOND, Currency, from_microseconds, to_microseconds

STREAM: Final = "main"


def draft(
    name: str,
    *,
    currency: Currency,
    seed: int | None,
    rule: Rule,
    policy: Policy,
    allocations: Mapping[str, str | int],
    start: datetime | str | None,
    epoch_seconds: int,
    gas_price: int,
    reporters: int,
    site_radius_m: int,
    max_mint_per_epoch: str | int | None,
    governance: Mapping[str, int],
) -> tuple[dict[str, Any], int | None]:
    """Return the draft of a genesis and its start; parameters as of ``Network.create``.

    Raises
    ------
    GenesisError, BadAmount, BadName
        What was asked for makes no network.
    """
    if seed is not None and not 0 <= seed < 2**64:
        raise GenesisError(field="seed", message="must lie between 0 and 2**64 - 1")
    money = CurrencySection.of(currency).model_dump()
    rule, policy = rule.resolve(currency), policy.resolve(currency)
    stream = {
        "name": STREAM,
        "scope": SCOPE,
        "rule": SpecSection.of(rule.spec()).model_dump(),
        "policy": SpecSection.of(policy.spec()).model_dump(),
    }
    content: dict[str, Any] = {
        "name": name,
        "epoch_seconds": epoch_seconds,
        "gas_price": gas_price,
        "reporters": reporters,
        "site_radius_m": site_radius_m,
        "max_mint_per_epoch": policy.most
        if max_mint_per_epoch is None
        else currency.parse(max_mint_per_epoch),
        "laboratory": seed is not None,
        "currency": money,
        "governance": dict(governance),
        "streams": [stream],
    }
    for who in allocations:
        check_name(who)
        if who in RESERVED:
            message = f"{who!r} is an account that every network has; take another name"
            raise GenesisError(field="allocations", message=message)
    balances = [currency.parse(amount) for amount in allocations.values()]
    _check(content, balances)
    first = None if start is None else _parse_start(start)
    if first is not None:
        length = epoch_seconds * SECOND
        _check(content, balances, first // length * length)
    return content | {"allocations": dict(allocations)}, first


def genesis(
    draft: Mapping[str, Any],
    *,
    start: int,
    metrics: Collection[str],
    usage: Collection[str],
    balances: Mapping[bytes, int],
    validator: bytes,
    reporters: Iterable[bytes],
) -> Genesis:
    """Return the genesis that a draft makes with what it leaves open."""
    scope = {
        "name": SCOPE,
        "reporters": [format_address(address) for address in reporters],
        "metrics": [name for name in METRICS if name in metrics],
        "usage": [name for name in USAGE if name in usage],
        "site_radius_m": draft["site_radius_m"],
    }
    apart = {"reporters", "site_radius_m"}
    fixed = {name: value for name, value in draft.items() if name not in apart}
    return Genesis.make(
        **fixed,
        start=from_microseconds(start),
        accounts=[
            AccountSection(address=format_address(address), balance=balance)
            for address, balance in balances.items()
        ],
        validators=[{"public_key": validator.hex()}],
        scopes=[scope],
    )


def fitting(gives: Collection[str]) -> list[Rule]:
    """Return the share rules without parameters that could run with some metrics."""
    known = minting.ShapleyTraffic(), minting.Airtime(), minting.Uptime()
    return [rule for rule in known if set(rule.needs).issubset(gives)]


def check_fed(rule: Rule, gives: Collection[str]) -> None:
    """Refuse a rule with metrics that the records do not give.

    Raises
    ------
    RuleNotFed
        Saying which rules could run with them.
    """
    for name in rule.needs:
        if name not in gives:
            names = " or ".join(type(one).__name__ for one in fitting(gives))
            advice = f"make it with another rule: dii init --rule {names} --home ANOTHER"
            given = ", ".join(one for one in METRICS if one in gives) or "nothing"
            raise RuleNotFed(
                rule=type(rule).__name__,
                metric=name,
                given=given,
                advice=advice if names else "no rule could run with that; see dii load --explain",
            )


def _check(draft: Mapping[str, Any], balances: Iterable[int], start: int = 0) -> None:
    """Refuse what could never be sealed; keys and metrics are stood in for."""
    accounts = {number.to_bytes(20): balance for number, balance in enumerate(balances)}
    reporters = [
        number.to_bytes(20) for number in range(min(draft["reporters"], MAX_REPORTERS + 1))
    ]
    genesis(
        draft,
        start=start,
        metrics=METRICS,
        usage=USAGE,
        balances=accounts,
        validator=bytes(32),
        reporters=reporters,
    )


def _parse_start(start: datetime | str) -> int:
    try:
        moment = datetime.fromisoformat(start) if isinstance(start, str) else start
    except ValueError:
        message = f"cannot read {start!r}; write it like 2018-04-21"
        raise GenesisError(field="start", message=message) from None
    return to_microseconds(moment)
