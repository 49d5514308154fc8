"""Small networks for tests of combined features: telemetry to load, and a reference.

The reference keeps each request with the time of its effect, and computes from the definitions
alone the payments of each epoch. It reads nothing from the network but the times of blocks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dii.crypto import SigningKey, claim_address, keyed_hash, sha256
from dii.genesis import TREASURY
from dii.minting import Airtime, DataCredits, FixedEmission, PerContribution, Policy, Rule
from dii.schema import SHAPLEY_UNIT
from dii.units import SECOND, format_time
from tests.sites import reference as sites

SEED: Final = 7
HOUR: Final = 3_600 * SECOND
START: Final = 1_743_454_800 * SECOND
"""2025-03-31T21:00:00Z: a month ends in the third epoch."""
DELAY: Final = 5_400 * SECOND
MOST: Final = 10**8
"""Limit of an epoch: more than all streams together mint."""

OTHER: Final = "other"
"""A second scope, whose reporter does not know the records of the main one."""
KEYS: Final = ("anna", "bob", "bea")
"""Accounts with keys; two are operators, too."""
OPERATORS: Final = ("anna", "bob", "bert", "carl")
"""Operators named by registries; two have no keys, hence claim accounts."""
OPENING: Final = 10**9
GATEWAYS: Final = range(6)
PLACES: Final = {n: (52.0 + (n // 2) * 0.1, 5.0 + (n % 2) * 0.0001) for n in GATEWAYS}
"""Gateways: two at each of three places, some metres apart."""
RADIUS: Final = 100

NETWORK_KEY: Final = sha256(b"dii/laboratory/network\0" + str(SEED).encode())


ALIAS: Final = 10
"""Number of the EUI of gateway 0 before any record states both its names."""


def name(gateway: int) -> str:
    """Return a name of a gateway: the id that the network server gives it, or its EUI."""
    return eui(gateway - ALIAS) if gateway >= ALIAS else f"ttn:roof-{gateway}"


def eui(gateway: int) -> str:
    """Return the EUI of a gateway."""
    return f"AA555A00000000{gateway:02X}"


def hashed(gateway: int) -> bytes:
    """Return the hash by which the chain knows a gateway."""
    return keyed_hash(NETWORK_KEY, "gateway", name(gateway))


def address(account: str) -> bytes:
    """Return the address of an account: of a key, or of an operator's claim account."""
    if account == "treasury":
        return TREASURY
    if account in OPERATORS and account not in KEYS:
        return claim_address("main", keyed_hash(NETWORK_KEY, "operator", account))
    return SigningKey.derive(SEED, account).address


# --- telemetry ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """An uplink that was delivered, and the gateways that heard it.

    ``airtime`` is in units of 10 ms and ``size`` in bytes; epochs below 0 are before the network.
    ``states`` tells how it names gateways: by ``id``, by ``eui``, or by ``both``.
    """

    epoch: int
    number: int
    heard: tuple[int, ...]
    airtime: int
    size: int
    states: str = "id"

    @property
    def names(self) -> tuple[int, ...]:
        """Stated names as numbers: an EUI without an id is not yet known to be of a gateway."""
        return tuple(one + ALIAS * (self.states == "eui") for one in self.heard)

    @property
    def time(self) -> int:
        """Time of reception: frames are apart, and away from both ends of the epoch."""
        return START + self.epoch * HOUR + (60 + self.number % 1_000 * 3) * SECOND

    def ids(self, gateway: int) -> dict[str, str]:
        """Return the names of a gateway that the uplink states."""
        names = {"gateway_id": f"roof-{gateway}", "eui": eui(gateway)}
        hidden = {"id": "eui", "eui": "gateway_id"}.get(self.states)
        return {kind: text for kind, text in names.items() if kind != hidden}

    def line(self) -> dict[str, object]:
        """Return the message that an integration of The Things Stack writes."""
        time = format_time(self.time)
        lora = {"bandwidth": 125_000, "spreading_factor": 9, "coding_rate": "4/5"}
        return {
            "end_device_ids": {
                "device_id": f"meter-{self.number}",
                "application_ids": {"application_id": "water"},
                "dev_eui": f"70B3D57ED{self.number:07X}",
            },
            "received_at": time,
            "uplink_message": {
                "f_port": 1,
                "f_cnt": self.number,
                "frm_payload": "AAAA" * (self.size // 3),
                "rx_metadata": [
                    {"gateway_ids": self.ids(one), "rssi": -101, "snr": 5.5} for one in self.heard
                ],
                "settings": {"data_rate": {"lora": lora}, "frequency": "868300000"},
                "received_at": time,
                "consumed_airtime": f"{self.airtime / 100}s",
            },
        }


def write_frames(path: Path, frames: Iterable[Frame]) -> Path:
    """Write uplinks as lines of JSON."""
    path.write_text("".join(json.dumps(one.line()) + "\n" for one in frames))
    return path


def write_registry(path: Path, operators: Mapping[int, str | None]) -> Path:
    """Write a registry of gateways with their operators and places."""
    entries = {}
    for gateway, operator in operators.items():
        north, east = PLACES[gateway]
        entry = {"id": f"roof-{gateway}", "location": {"latitude": north, "longitude": east}}
        owner = {} if operator is None else {"owner": operator, "owners": [operator]}
        entries[f"roof-{gateway}"] = entry | owner
    path.write_text(json.dumps(entries))
    return path


# --- the reference --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """A stream: how gateways of a scope are paid."""

    rule: Rule
    policy: Policy
    rest: str | None = None


@dataclass(frozen=True)
class Issued:
    """Payments of a stream in an epoch: by gateway its weight, amount, and the account paid."""

    scope: str
    plan: Plan
    pool: int
    dust_before: int
    dust: int
    rest: int
    rows: Mapping[int, tuple[int, int, str]]
    denied: frozenset[int]

    @property
    def paid(self) -> int:
        return sum(amount for _, amount, _ in self.rows.values())

    @property
    def total(self) -> int:
        return sum(weight for weight, _, _ in self.rows.values())


@dataclass(frozen=True)
class Change:
    """A decision on streams or gateways that waits for an epoch; a plan of None ends a stream."""

    since: int
    stream: str = ""
    plan: Plan | None = None
    gateway: int | None = None
    until: int = 0


@dataclass
class Books:
    """Model of a scope: requests, and their consequences.

    The reference knows the records of the main scope and the reports of another. Scopes share only
    accounts and issuances.
    """

    radius: int
    streams: dict[str, Plan]
    scope: str = "main"
    settled: int = 0
    reported: dict[int, dict[int, dict[str, int]]] = field(default_factory=dict)
    other: Books | None = None
    frames: set[Frame] = field(default_factory=set)
    registry: dict[int, str | None] = field(default_factory=dict)
    """Gateways with entries, which state their places, and the operators that are named first."""
    owners: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    forwards: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    denials: dict[int, int] = field(default_factory=dict)
    dust: Counter[str] = field(default_factory=Counter)
    balances: Counter[str] = field(default_factory=Counter)
    issued: dict[tuple[str, int], Issued] = field(default_factory=dict)

    def found(self, epoch: int) -> None:
        """Add another scope, with a given first epoch."""
        self.other = Books(
            0, {}, OTHER, epoch,
            forwards=self.forwards, balances=self.balances, issued=self.issued,
        )  # fmt: skip

    @property
    def scopes(self) -> list[Books]:
        """The main scope, and the other if there is one."""
        return [self] if self.other is None else [self, self.other]

    # --- ownership ------------------------------------------------------------------------------

    def resolve(self, account: str | None) -> str:
        """Return the account in which money for another arrives; without any, the treasury."""
        return "treasury" if account is None else self.forwards.get(account, account)

    def owner(self, gateway: int, epoch: int) -> str | None:
        pairs = self.owners.get(gateway, [])
        return next((who for since, who in reversed(pairs) if since <= epoch), None)

    def shown_owner(self, gateway: int) -> str | None:
        """Return the owner in the open epoch, else the first that is to come."""
        pairs = self.owners.get(gateway)
        return self.owner(gateway, self.settled) or (pairs[0][1] if pairs else None)

    def last_owner(self, gateway: int) -> str | None:
        pairs = self.owners.get(gateway)
        return pairs[-1][1] if pairs else None

    def assign(self, gateway: int, to: str, now: int) -> None:
        """Hand a gateway on from the epoch after the one of now."""
        since = (now - START) // HOUR + 1
        others = [pair for pair in self.owners[gateway] if pair[0] != since]
        self.owners[gateway] = sorted([*others, (since, to)])

    def bind(self, gateway: int, to: str, now: int) -> None:
        """Bind a gateway by all reporters: at once the first time, later after the delay."""
        if gateway not in self.owners:
            self.owners[gateway] = [(self.settled, to)]
        elif self.last_owner(gateway) != to:
            self.rebind(gateway, to, now)

    def rebind(self, gateway: int, to: str, now: int) -> None:
        """Bind a gateway to another account after the delay."""
        epoch = (now - START) // HOUR
        since = max(epoch + 1, ceil_epoch(now + DELAY))
        kept = [pair for pair in self.owners[gateway] if pair[0] <= epoch + 1 and pair[0] < since]
        if kept[-1][1] != to:
            kept.append((since, to))
        self.owners[gateway] = kept

    def claim(self, operator: str, key: str) -> None:
        self.forwards[operator] = key
        self.balances[key] += self.balances.pop(operator, 0)

    # --- telemetry ------------------------------------------------------------------------------

    def load(self, frames: Sequence[Frame], registry: Mapping[int, str | None]) -> None:
        """Take records in: those of settled epochs, or from before the start, do not count."""
        self.frames |= {one for one in frames if one.epoch >= self.settled}
        self.registry |= registry

    def known(self, epoch: int) -> set[int]:
        """Return the gateways that a registry lists, or that were heard in the epoch or before."""
        heard = (frame.names for frame in self.frames if frame.epoch <= epoch)
        return {self.resolve_name(one, epoch) for one in {*self.registry}.union(*heard)}

    def resolve_name(self, gateway: int, epoch: int) -> int:
        """Return the gateway of a name: that of an EUI is known once a record has stated both."""
        told = any(
            frame.states == "both" and gateway - ALIAS in frame.heard and frame.epoch <= epoch
            for frame in self.frames
        )
        return gateway - ALIAS if told else gateway

    @property
    def everything(self) -> set[int]:
        """Gateways that any record names, and any binding."""
        return {*self.owners}.union(self.registry, *(frame.names for frame in self.frames))

    def over(self, *, complete: bool) -> int:
        """Return how many epochs are over: records reach their ends, or ``complete`` says so."""
        reaches = max(frame.time for frame in self.frames)
        return (reaches - START) // HOUR + complete

    def bind_known(self) -> None:
        """Bind gateways to the operators that a registry names, before an epoch is reported."""
        for gateway, operator in self.registry.items():
            if operator is not None and gateway not in self.owners:
                self.owners[gateway] = [(self.settled, operator)]

    def heard(self, epoch: int) -> list[Frame]:
        return sorted((one for one in self.frames if one.epoch == epoch), key=lambda f: f.number)

    # --- paying ---------------------------------------------------------------------------------

    def settle(self) -> None:
        """Pay the next epoch by the streams that are then in force."""
        epoch = self.settled
        self.bind_known()
        waiting = [change for change in self.changes if change.since <= epoch]
        self.changes = [change for change in self.changes if change.since > epoch]
        for change in sorted(waiting, key=lambda change: change.since):
            self.apply(change)
        self.denials = {one: until for one, until in self.denials.items() if until > epoch}
        for stream, plan in self.streams.items():
            issued = self.issue(stream, plan, epoch)
            self.issued[stream, epoch] = issued
            self.dust[stream] = issued.dust
            for _, amount, payee in issued.rows.values():
                self.balances[payee] += amount
            self.balances["treasury"] += issued.rest
        self.settled += 1

    def apply(self, change: Change) -> None:
        if change.gateway is not None:
            self.denials[change.gateway] = change.until
        elif change.plan is not None:
            self.streams[change.stream] = change.plan
        elif self.streams.pop(change.stream, None) is not None:
            self.balances["treasury"] += self.dust.pop(change.stream, 0)

    def issue(self, stream: str, plan: Plan, epoch: int) -> Issued:
        metrics = self.metrics(epoch)
        weights = {one: weight(plan.rule, values) for one, values in metrics.items()}
        weights |= dict.fromkeys(weights.keys() & self.denials.keys(), 0)
        total, dust = sum(weights.values()), self.dust[stream]
        pool = pool_of(plan.policy, total, plan.rule.scale)
        divided = pool + dust if total else 0
        if plan.rule.claim:
            divided = min(divided, total)
        rows = {}
        for one, value in weights.items():
            payee = self.resolve(self.owner(one, epoch))
            rows[one] = value, divided * value // total if total else 0, payee
        minted = max(0, divided - dust)
        rest = pool - minted if plan.rest == "treasury" else 0
        left = dust + minted - sum(amount for _, amount, _ in rows.values())
        return Issued(self.scope, plan, pool, dust, left, rest, rows, frozenset(self.denials))

    def metrics(self, epoch: int) -> dict[int, dict[str, int]]:
        """Count the metrics of each gateway, by the definitions."""
        if self.scope != "main":
            return self.reported[epoch]
        heard = self.heard(epoch)
        rows = {
            one: {"shapley_uplinks": 0, "uplink_units": 0, "data_units": 0}
            for one in sorted(self.known(epoch))
        }
        groups = self.players(epoch)
        for frame in heard:
            players: dict[frozenset[int], list[int]] = {}
            for one in sorted((self.resolve_name(one, epoch) for one in frame.names), key=name):
                mine = next((group for group in groups if one in group), frozenset([one]))
                players.setdefault(mine, []).append(one)
            part = SHAPLEY_UNIT // len(players)
            for members in players.values():
                each = part // len(members)
                for one in members:
                    first = part - each * (len(members) - 1)
                    rows[one]["shapley_uplinks"] += first if one == members[0] else each
                    rows[one]["uplink_units"] += frame.airtime
                    rows[one]["data_units"] += max(1, -(-frame.size // 24))
        return rows

    def players(self, epoch: int) -> list[frozenset[int]]:
        """Group gateways by their owners, and by sites where there is a radius."""
        owners = {}
        for one in self.owners:
            owner = self.owner(one, epoch)
            if owner is not None:
                owners[one] = self.resolve(owner)
        if not self.radius:
            return [
                frozenset(one for one in owners if owners[one] == owner)
                for owner in sorted(set(owners.values()))
            ]
        places = {name(one): PLACES[one] for one in self.registry}
        found = sites({name(one): owner for one, owner in owners.items()}, places, self.radius)
        numbers = {name(one): one for one in GATEWAYS}
        return [frozenset(numbers[one] for one in group) for group in found]


def ceil_epoch(time: int) -> int:
    """Return the first epoch that begins at a time or later."""
    return max(0, -(-(time - START) // HOUR))


def weight(rule: Rule, metrics: Mapping[str, int]) -> int:
    """Weigh a gateway."""
    if isinstance(rule, Airtime):
        return metrics["uplink_units"]
    if isinstance(rule, DataCredits):
        return int(rule.rate) * metrics["data_units"]
    return metrics["shapley_uplinks"]


def pool_of(policy: Policy, total: int, scale: int) -> int:
    """Return the amount that a policy lets an epoch mint."""
    if isinstance(policy, PerContribution):
        return min(int(policy.cap), int(policy.rate) * total // scale)
    assert isinstance(policy, FixedEmission)
    return int(policy.amount)
