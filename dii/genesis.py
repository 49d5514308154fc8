"""Genesis of a network: everything that it agrees on before its first block.

One TOML file, validated with errors that name the field. The genesis hash is the SHA-256 of the
validated content in a canonical form, not of the file's text, so comments and order do not matter;
every transaction is signed over it, so no other chain can replay one.

People are addresses and public keys here, as in the state; their names are in the home directory.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator

from dii import codec, crypto, files, minting
from dii.codec import Value
from dii.errors import DiiError, GenesisError, MetricNotReported, MintsTooMuch
from dii.minting.spec import Spec, from_spec
from dii.schema import METRICS, USAGE
from dii.units import MAX_AMOUNT, PPM, SECOND, UNIT_PREFIX, Currency, to_microseconds

MAX_DOTS: Final = 64
"""Dots in a line of a genesis file, where they divide a key into parts."""
MAX_BYTES: Final = 1 << 24
"""Bytes of a genesis file; 100,000 opening balances fit."""

TREASURY: Final = codec.Address(crypto.sha256(b"dii/treasury/1\0")[:20])
"""The community's own account; only governance spends from it."""


def _address(text: str) -> str:
    """Return an address in lower case: written in two ways it must not become two accounts."""
    try:
        crypto.parse_address(text)
    except DiiError as error:
        raise ValueError(str(error)) from None  # pydantic adds the field
    return text.lower()


NAME: Final = r"[a-z0-9][a-z0-9_-]{0,40}"
"""Pattern of the names of networks, streams and scopes."""


def _checked(good: Callable[[Any], object], message: str) -> AfterValidator:
    """Return a validator that refuses all but good values, with a message."""

    def check(value: Any) -> Any:
        if not good(value):
            raise ValueError(message)
        return value

    return AfterValidator(check)


def _written(pattern: str, like: str) -> AfterValidator:
    """Return a validator of texts of a pattern, which the error describes in words."""
    return _checked(re.compile(pattern, re.ASCII).fullmatch, f"write it with {like}")


MAX_SCOPES: Final = 64
MAX_STREAMS: Final = 64
MAX_VALIDATORS: Final = 128
MAX_POWER: Final = 2**40
MAX_GAS_PRICE: Final = 10**12
LEAST_BLOCK_GAS: Final = 602_000
"""Gas of a full registration or a full chunk: in smaller blocks a scope could never report."""

_Name = Annotated[
    str, _written(NAME, "1 to 41 of a-z, 0-9, '_' and '-', and begin with a letter or digit")
]
_Symbol = Annotated[
    str, _written("[A-Za-z][A-Za-z0-9]{0,7}", "1 to 8 letters and digits, and begin with a letter")
]
_Amount = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
_Count = Annotated[int, Field(ge=1, le=2**32)]
_AddressText = Annotated[str, AfterValidator(_address)]
_KeyText = Annotated[str, _written("[0-9a-f]{64}", "64 lower-case hex digits")]
_Decimals = Annotated[
    int, _checked(UNIT_PREFIX.__contains__, f"must be one of {sorted(UNIT_PREFIX)}")
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def checked(cls, within: str, /, **content: Any) -> Self:
        """Return the part with this content; GenesisError if it is invalid."""
        try:
            return cls(**content)
        except ValidationError as error:
            raise _named(error, within) from None


class CurrencySection(_Part):
    """Name, symbol and decimals of the community's currency."""

    name: Annotated[str, Field(min_length=1, max_length=40)] = "The Things Coin"
    symbol: _Symbol = "TTC"
    decimals: _Decimals = 6


class AccountSection(_Part):
    """An opening balance, in the smallest unit."""

    address: _AddressText
    balance: _Amount


class ValidatorSection(_Part):
    """A validator, which orders and signs blocks, and its voting power."""

    public_key: _KeyText
    power: Annotated[int, Field(ge=1, le=MAX_POWER)] = 1


class ScopeSection(_Part):
    """A set of gateways, its reporters, and the metrics and usage of their reports."""

    name: _Name
    reporters: Annotated[list[_AddressText], Field(min_length=1, max_length=64)]
    metrics: Annotated[list[str], Field(min_length=1, max_length=32)]
    usage: Annotated[list[str], Field(max_length=32)] = []
    site_radius_m: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Players with gateways within this distance of each other count as one player; 0: none do."""

    @model_validator(mode="after")
    def _known_metrics(self) -> Self:
        for given, known in ((self.metrics, METRICS), (self.usage, USAGE)):
            unknown = [name for name in given if name not in known]
            if unknown:
                raise ValueError(f"unknown metric {unknown[0]!r}; there is {', '.join(known)}")
            if given != [name for name in known if name in given]:
                raise ValueError(f"each metric once, in this order: {', '.join(known)}")
        if len(set(self.reporters)) < len(self.reporters):
            raise ValueError("duplicate reporter; each has one vote")
        return self


class SpecSection(_Part):
    """A rule or policy by name, version and integer parameters."""

    name: str
    version: _Count = 1
    parameters: dict[str, _Amount] = {}

    @classmethod
    def of(cls, spec: Spec) -> SpecSection:
        """Return the section that names a rule or policy; GenesisError if it is invalid."""
        parameters = dict(spec.parameters)
        return cls.checked(spec.name, name=spec.name, version=spec.version, parameters=parameters)

    @property
    def spec(self) -> Spec:
        """The same as state and receipts carry it."""
        return Spec(self.name, self.version, tuple(sorted(self.parameters.items())))


class StreamSection(_Part):
    """One way in which money is issued to one scope's gateways."""

    name: _Name
    scope: _Name
    rule: SpecSection
    policy: SpecSection
    rest: str | None = None
    """A later stream of the scope, ``treasury``, or none: the rest is not minted."""


class Limits(_Part):
    """Bounds on blocks, settling and free messages."""

    block_bytes: Annotated[int, Field(ge=1 << 17, le=4_000_000)] = 1 << 21
    """Bytes of the transactions; with header and signatures the block must fit into 4 MiB."""
    block_gas: _Count = 100_000_000
    settle_rows: Annotated[int, Field(ge=1, le=1 << 20)] = 8_000
    max_rows: Annotated[int, Field(ge=1, le=1 << 20)] = 1 << 20
    max_bindings: _Count = 1 << 16
    pending: Annotated[int, Field(ge=1, le=1024)] = 16
    hook_gas: _Count = 10_000_000
    """Gas of hooks in a block."""
    hook_budget: _Count = 50_000_000
    """Gas that all contracts of a scope may reserve for each epoch."""


class GovernanceSection(_Part):
    """Limits that no vote can change: delays of decisions, and the share of the treasury."""

    delay_seconds: Annotated[int, Field(ge=0, le=10 * 366 * 86_400)] = 7 * 86_400
    """Seconds from a decision to its effect."""
    voting_seconds: Annotated[int, Field(ge=1, le=10 * 366 * 86_400)] = 14 * 86_400
    """Seconds after which a proposal that has not passed expires."""
    max_treasury_ppm: Annotated[int, Field(ge=0, le=PPM)] = 200_000
    """Share of ``max_mint_per_epoch`` that an epoch may mint to the treasury as rest of streams."""


class Genesis(_Part):
    """A validated genesis.

    Raises
    ------
    GenesisError
        From :meth:`load`, :meth:`parse` and :meth:`make`: naming the field and what is wrong.
    """

    name: _Name
    start: datetime
    epoch_seconds: Annotated[int, Field(ge=60, le=31 * 86_400)] = 86_400
    report_window_seconds: Annotated[int, Field(ge=1, le=31 * 86_400)] = 86_400
    gas_price: Annotated[int, Field(ge=0, le=MAX_GAS_PRICE)] = 1
    max_mint_per_epoch: _Amount
    laboratory: bool = False
    generated: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    currency: CurrencySection = CurrencySection()
    limits: Limits = Limits()
    governance: GovernanceSection = GovernanceSection()
    accounts: list[AccountSection] = []
    validators: Annotated[list[ValidatorSection], Field(min_length=1, max_length=MAX_VALIDATORS)]
    scopes: Annotated[list[ScopeSection], Field(min_length=1, max_length=MAX_SCOPES)]
    streams: Annotated[list[StreamSection], Field(max_length=MAX_STREAMS)] = []

    @classmethod
    def load(cls, path: Path) -> Genesis:
        """Read a genesis file."""
        try:
            data = files.read(path, MAX_BYTES)
            if len(data) > MAX_BYTES:
                raise GenesisError(field=path.name, message=f"larger than {MAX_BYTES} bytes")
            text = data.decode()
        except (OSError, UnicodeDecodeError) as error:
            raise GenesisError(field=path.name, message=f"cannot be read: {error}") from error
        return cls.parse(text)

    @classmethod
    def parse(cls, text: str) -> Genesis:
        """Read a genesis from its TOML text."""
        # The work for a key of many parts grows with the square of their number, or faster. TOML
        # knows no line ends but these: U+2028 may stand in a key.
        for number, line in enumerate(text.split("\n"), 1):
            if line.count(".") > MAX_DOTS and not line.lstrip(" \t").startswith("#"):
                message = f"line {number} has more than {MAX_DOTS} dots; a key has one or two"
                raise GenesisError(field="(file)", message=message)
        try:
            content = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # also a number of 5,000 digits
            raise GenesisError(field="(file)", message=f"not TOML: {error}") from error
        return cls.make(**content)

    @classmethod
    def make(cls, /, **content: Any) -> Genesis:
        """Validate content given as Python values."""
        try:
            return cls.checked("", **content)
        except DiiError as error:
            if isinstance(error, GenesisError | MetricNotReported):
                raise
            raise GenesisError(field="(whole)", message=str(error)) from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_time()
        if self.limits.block_gas < LEAST_BLOCK_GAS:
            given = f"{self.limits.block_gas:,} gas a block is too little for a full report"
            message = f"{given} or registration; set {LEAST_BLOCK_GAS:,} or more"
            raise GenesisError(field="limits.block_gas", message=message)
        if self.generated and not self.laboratory:
            message = "generated traffic makes a laboratory network: set laboratory = true"
            raise GenesisError(field="generated", message=message)
        _unique("accounts", [account.address for account in self.accounts])
        _unique("validators", [validator.public_key for validator in self.validators])
        _unique("scopes", [scope.name for scope in self.scopes])
        _unique("streams", [stream.name for stream in self.streams])
        if sum(account.balance for account in self.accounts) > MAX_AMOUNT:
            raise GenesisError(field="accounts", message="balances sum to 2**63 or more")
        for position in range(len(self.streams)):
            self._check_stream(position)
        return self

    def _check_time(self) -> None:
        if self.start.utcoffset() is None:
            raise GenesisError(field="start", message="needs a time zone: 2018-04-21T00:00:00Z")
        if to_microseconds(self.start) < 0 or self.start.year > 9000:
            raise GenesisError(field="start", message="must lie between the years 1970 and 9000")
        if to_microseconds(self.start) % (self.epoch_seconds * SECOND):
            message = f"must lie on an epoch boundary (a multiple of {self.epoch_seconds} s)"
            raise GenesisError(field="start", message=message)

    def _check_stream(self, position: int) -> None:
        stream, field = self.streams[position], f"streams.{position}"
        scopes = {scope.name: scope for scope in self.scopes}
        if stream.scope not in scopes:
            raise GenesisError(field=f"{field}.scope", message=f"no scope {stream.scope!r}")
        if stream.name == "treasury":
            message = "the name treasury is reserved; choose another name"
            raise GenesisError(field=f"{field}.name", message=message)
        later = [s.name for s in self.streams[position + 1 :] if s.scope == stream.scope]
        if stream.rest not in (None, "treasury", *later):
            message = f"{stream.rest!r} is neither treasury nor a later stream of {stream.scope}"
            raise GenesisError(field=f"{field}.rest", message=message)
        rule, policy = stream.rule.spec, stream.policy.spec
        try:
            check_stream(stream.name, rule, policy, self.max_mint_per_epoch)
            check_metrics(stream.name, rule, stream.scope, scopes[stream.scope].metrics)
        except MetricNotReported:
            raise
        except MintsTooMuch:
            amounts = from_spec(policy, minting.POLICIES).most, self.max_mint_per_epoch
            most, limit = map(self.money.format, amounts)
            reason = MintsTooMuch(stream=stream.name, most=most, limit=limit)
            raise GenesisError(field=f"{field}.policy", message=str(reason)) from None
        except DiiError as error:
            raise GenesisError(field=field, message=str(error)) from None

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the canonical form, version 1: every value that differs from its default.

        A release with more fields reads an old file to the same hash. So the defaults are part of
        the version: one that changes needs a new version, for old files mean the old default.
        """
        content = codec.encode(_canonical(self.model_dump(exclude_defaults=True)))
        return hashlib.sha256(b"dii/genesis/1\0" + content).digest()

    @property
    def chain_id(self) -> str:
        """Name and 8 hex digits of the hash."""
        return f"{self.name}-{self.hash.hex()[:8]}"

    @property
    def notice(self) -> str:
        """Notice beside every figure of a laboratory network; empty for other networks."""
        if self.generated:
            return f"laboratory: traffic is generated, {self.generated}"
        return "laboratory: keys follow from a seed" if self.laboratory else ""

    @property
    def money(self) -> Currency:
        """The currency, for reading and writing amounts."""
        return Currency(self.currency.name, self.currency.symbol, self.currency.decimals)

    @property
    def start_time(self) -> int:
        """Start of epoch 0, in microseconds since 1970."""
        return to_microseconds(self.start)

    @property
    def epoch_length(self) -> int:
        """Length of an epoch in microseconds."""
        return self.epoch_seconds * SECOND

    def span(self, epoch: int) -> tuple[int, int]:
        """Return an epoch's start and end, microseconds since 1970."""
        start = self.start_time + epoch * self.epoch_length
        return start, start + self.epoch_length

    def dump(self) -> str:
        """Return the TOML text that :meth:`parse` reads back."""
        content = self.model_dump(exclude_none=True)
        content["start"] = self.start.astimezone(UTC)
        return tomli_w.dumps(content)


def check_stream(name: str, rule: Spec, policy: Spec, most: int) -> None:
    """Refuse a stream that cannot exist on a chain whose epochs mint at most ``most``.

    Raises
    ------
    UnknownVersion, Overflow, BadParameter, MintsTooMuch
        Its rule or policy is unknown, wrong, or mints too much.
    """
    from_spec(rule, minting.RULES).check()
    made = from_spec(policy, minting.POLICIES)
    made.check()
    if made.most > most:
        raise MintsTooMuch(stream=name, most=made.most, limit=most)


def check_metrics(stream: str, rule: Spec, scope: str, given: Collection[str]) -> None:
    """Refuse a rule that needs a metric which its scope does not give: MetricNotReported."""
    for metric in from_spec(rule, minting.RULES).needs:
        if metric not in given:
            what, known = f"stream {stream}: {rule.name}", ", ".join(given)
            raise MetricNotReported(
                what=what, stream=stream, metric=metric, scope=scope, given=known
            )


def _named(error: ValidationError, within: str) -> GenesisError:
    """Return an error that names the first bad field."""
    first = error.errors()[0]
    field = ".".join(map(str, [within, *first["loc"]])).strip(".") or "(whole)"
    return GenesisError(field=field, message=first["msg"].removeprefix("Value error, "))


def _unique(field: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise GenesisError(field=field, message=f"duplicate {name}; list it once")
        seen.add(name)


def _canonical(value: Any) -> Value:
    """Maps become arrays of pairs in key order, times become microseconds."""
    if isinstance(value, dict):
        return tuple((key, _canonical(item)) for key, item in sorted(value.items()))
    if isinstance(value, list):
        return tuple(_canonical(item) for item in value)
    return to_microseconds(value) if isinstance(value, datetime) else value
