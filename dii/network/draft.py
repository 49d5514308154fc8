"""Draft of a genesis: the options of a network until its first telemetry.

The first day of a network and the metrics of its reporter follow from the first telemetry, in a
notebook from the first ``ingest``. Until then the network is a *draft*: a genesis without these
values. A draft is checked at once, with stand-ins for the missing values, so that impossible
options are refused when the network is created, not days later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from dii import crypto, errors, minting
from dii.application.records import MAX_REPORTERS
from dii.genesis import MAX_VALIDATORS, CurrencySection, Genesis, SpecSection
from dii.network.home import RESERVED_NAMES, SCOPE, STREAM, check_name, numbered
from dii.network.telemetry import Feed
from dii.schema import METRICS, USAGE
from dii.testing.faults import Faults
from dii.units import SECOND, Currency, from_microseconds, to_microseconds

Keys = Callable[[str], crypto.SigningKey]
_STAND_IN: Final = partial(crypto.SigningKey.derive, 0)
"""Function that returns the key of an account, or a stand-in, by name."""


@dataclass(frozen=True)
class Options:
    """Options of a new network.

    Parameters
    ----------
    name
        Short name of the chain.
    symbol, currency, decimals
        Symbol, name and decimals of the currency.
    seed
        Makes it a laboratory network, whose keys follow from the seed. Required in memory.
    home
        Folder to keep it in; None keeps it in memory.
    rule, policy
        The one stream by which gateways are paid; by default ``ShapleyTraffic`` and a
        ``FixedEmission`` of 10,000.
    allocations
        Opening balances by account name: ``{"bob": "500 TTC"}``.
    start
        Start of epoch 0; by default the first day of the first telemetry.
    epoch_seconds
        Length of an epoch.
    gas_price
        Price of one gas, in smallest units.
    validators, faults
        Number of validators, at most 128, and what goes wrong among them. More than one, or any
        faults, are simulated in virtual time, and need a seed; see :mod:`dii.testing`.
    reporters
        Number of reporters, at most 64; here all of them report the same. Of n, (n - 1) // 3
        may lie without effect.
    site_radius_m
        Players whose gateways stand within so many metres of each other count as one in
        ``shapley_uplinks``; 0 leaves them apart.
    max_mint_per_epoch
        Limit that no vote can raise; by default what the policy mints at most.
    governance
        Other limits that no vote can change, as the genesis names them; by default
        ``{"delay_seconds": 604_800, "voting_seconds": 1_209_600, "max_treasury_ppm": 200_000}``.

    Raises
    ------
    GenesisError, BadAmount, BadName, HomeExists
        The options are impossible; nothing was written.
    """

    name: str = "ttn"
    _: KW_ONLY
    symbol: str = "TTC"
    currency: str = "The Things Coin"
    decimals: int = 6
    seed: int | None = None
    home: str | Path | None = None
    rule: minting.Rule | None = None
    policy: minting.Policy | None = None
    allocations: Mapping[str, str | int] | None = None
    start: datetime | str | None = None
    epoch_seconds: int = 86_400
    gas_price: int = 1
    validators: int = 1
    faults: Faults | None = None
    reporters: int = 1
    site_radius_m: int = 0
    max_mint_per_epoch: str | int | None = None
    governance: Mapping[str, int] | None = None

    @property
    def simulated(self) -> bool:
        """True if the validators are simulated."""
        return self.validators != 1 or self.faults is not None

    def draft(self) -> tuple[dict[str, Any], int | None]:
        """Return the draft of the genesis, and its start; refuse impossible options."""
        if self.home is None and self.seed is None:
            message = "a network in memory is a laboratory network: give it a seed, or a home"
            raise errors.GenesisError(field="seed", message=message)
        if self.simulated and self.seed is None:
            message = "validators are simulated in a laboratory network: give it a seed"
            raise errors.GenesisError(field="validators", message=message)
        if self.faults is not None and (wrong := self.faults.wrong(self.validators)):
            raise errors.GenesisError(field="faults", message=wrong)
        if self.seed is not None and not 0 <= self.seed < 2**64:
            raise errors.GenesisError(field="seed", message="must lie between 0 and 2**64 - 1")
        currency = Currency(self.currency, self.symbol, self.decimals)
        money = CurrencySection.checked("currency", **asdict(currency)).model_dump()
        rule = (self.rule or minting.ShapleyTraffic()).resolve(currency)
        policy = (self.policy or minting.FixedEmission("10000")).resolve(currency)
        most = self.max_mint_per_epoch
        stream = {
            "name": STREAM,
            "scope": SCOPE,
            "rule": SpecSection.of(rule.spec()).model_dump(),
            "policy": SpecSection.of(policy.spec()).model_dump(),
        }
        same = "name", "epoch_seconds", "gas_price", "validators", "reporters", "site_radius_m"
        content: dict[str, Any] = {name: getattr(self, name) for name in same} | {
            "max_mint_per_epoch": policy.most if most is None else currency.parse(most),
            "laboratory": self.seed is not None,
            "currency": money,
            "governance": dict(self.governance or {}),
            "streams": [stream],
            "allocations": dict(self.allocations or {}),
        }
        for who in content["allocations"]:
            check_name(who)
            if who in RESERVED_NAMES:
                message = f"{who!r} is an account that every network has; take another name"
                raise errors.GenesisError(field="allocations", message=message)
        genesis(content, 0)
        first = None if self.start is None else _parse_start(self.start)
        if first is not None:
            genesis(content, first)
        return content, first


def genesis(
    draft: Mapping[str, Any], first_time: int, feed: Feed | None = None, key: Keys = _STAND_IN
) -> Genesis:
    """Return the genesis of a draft; its start is that of the epoch of the first record.

    Parameters
    ----------
    draft, first_time
        The draft, and the time of the first record.
    feed
        The records, which give the metrics and the usage to report; by default all are reported.
    key
        Takes the name of an account to its key; by default to a stand-in.
    """
    content = dict(draft)
    allocations, count = content.pop("allocations"), content.pop("reporters")
    length, money = content["epoch_seconds"] * SECOND, Currency(**content["currency"])
    names = numbered("reporter", min(count, MAX_REPORTERS + 1))
    signers = numbered("validator", min(content.pop("validators", 1), MAX_VALIDATORS + 1))
    scope = {
        "name": SCOPE,
        "reporters": [crypto.format_address(key(name).address) for name in names],
        "metrics": [name for name in METRICS if not feed or name in feed.gives],
        "usage": [name for name in USAGE if not feed or name in feed.gives_usage],
        "site_radius_m": content.pop("site_radius_m"),
    }
    accounts = [
        {"address": crypto.format_address(key(name).address), "balance": money.parse(amount)}
        for name, amount in allocations.items()
    ]
    return Genesis.make(
        **content,
        start=from_microseconds(first_time // max(length, 1) * length),
        accounts=accounts,
        validators=[{"public_key": key(name).public_key.hex()} for name in signers],
        scopes=[scope],
    )


def fitting(gives: Collection[str]) -> list[minting.Rule]:
    """Return the share rules without parameters that need no other metrics."""
    known = minting.ShapleyTraffic(), minting.Airtime(), minting.Uptime()
    return [rule for rule in known if set(rule.needs).issubset(gives)]


def check_fed(rule: minting.Rule, gives: Collection[str]) -> None:
    """Refuse a rule that needs metrics which the records do not give.

    Raises
    ------
    RuleNotFed
        The error names the rules that these records can feed.
    """
    for name in rule.needs:
        if name not in gives:
            names = " or ".join(type(one).__name__ for one in fitting(gives))
            advice = f"make it with another rule: dii init --rule {names} --home ANOTHER"
            given = ", ".join(one for one in METRICS if one in gives) or "nothing"
            raise errors.RuleNotFed(
                rule=type(rule).__name__,
                metric=name,
                given=given,
                advice=advice if names else "no rule could run with that; see dii load --explain",
            )


def _parse_start(start: datetime | str) -> int:
    try:
        moment = datetime.fromisoformat(start) if isinstance(start, str) else start
    except ValueError:
        message = f"cannot read {start!r}; write it like 2018-04-21"
        raise errors.GenesisError(field="start", message=message) from None
    return to_microseconds(moment)
