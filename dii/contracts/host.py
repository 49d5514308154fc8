"""Names by which a contract reaches the chain, through its :class:`~dii.contracts.vm.Host`.

The tables here list all variables, functions and records that a contract can use of its node.
There are no calls from contract to contract, so re-entry is impossible.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from dii import errors
from dii.contracts import gas
from dii.contracts.tree import Plain, Type
from dii.contracts.values import ADDRESS, APPLICATION, BOOL, GATEWAY, INT, MONEY, SHARE
from dii.contracts.vm import Frame, Run
from dii.schema import METRICS


def short(value: Run) -> Run:
    """Check the length of bytes that the host looks up."""

    def run(frame: Frame) -> Any:
        name = value(frame)
        if len(name) <= gas.MAX_KEY:
            return name
        raise errors.Reverted(message=f"an id has at most {gas.MAX_KEY} bytes")

    return run


def _pay(to: Run, amount: Run) -> Run:
    def run(frame: Frame) -> None:
        host, payee, money = frame[0].host, to(frame), amount(frame)
        if not 0 < money <= host.balance():
            message = f"cannot pay {money}; the amount must be 1 to {host.balance()}, the balance"
            raise errors.Reverted(message=message)
        host.pay(payee, money)

    return run


def _operator(gateway: Run, epoch: Run) -> Run:
    def run(frame: Frame) -> bytes:
        owner: bytes | None = frame[0].host.operator(gateway(frame), epoch(frame))
        if owner is None:
            raise errors.Reverted(message="the owner is unknown; check bound(gateway, epoch) first")
        return owner

    return run


def emit(event: str, values: list[Run]) -> Run:
    """Emit an event, charged by its bytes, text as JSON writes it: up to twelve a character."""

    def run(frame: Frame) -> None:
        machine = frame[0]
        items = tuple([value(frame) for value in values])
        least = [len(item) if type(item) in (str, bytes) else gas.ITEM for item in items]
        machine.take(gas.STORED * sum(least))
        if sum(least) <= gas.MAX_STORED:  # otherwise it is too large in any case
            more = sum([len(json.dumps(item)) - 2 - len(item)
                        for item in items if type(item) is str])  # fmt: skip
            machine.take(gas.STORED * more)
            if sum(least) + more <= gas.MAX_STORED:
                machine.host.emit(event, items)
                return
        raise errors.Reverted(message=f"an event has at most {gas.MAX_STORED:,} bytes")

    return run


@dataclass(frozen=True, slots=True)
class Signature:
    """A function of the host: parameters, result, gas, closure, and whether it has effects."""

    parameters: tuple[Type, ...]
    returns: Type | None
    cost: int
    make: Callable[..., Run]
    effect: bool = False


VARIABLES: Final[dict[str, tuple[Plain, Run]]] = {
    "sender": (ADDRESS, lambda f: f[0].host.sender),
    "value": (MONEY, lambda f: f[0].host.value),
    "self_address": (ADDRESS, lambda f: f[0].host.self_address),
    "balance": (MONEY, lambda f: f[0].host.balance()),
    "height": (INT, lambda f: f[0].host.height),
    "time": (INT, lambda f: f[0].host.time),
    "epoch": (INT, lambda f: f[0].host.epoch),
}
RECORDS: Final[dict[str, dict[str, Type]]] = {
    "metrics": {name: SHARE if name.endswith("_ppm") else INT for name in METRICS},
    "usage": dict.fromkeys(("delivered", "uplink_units", "downlinks", "lost"), INT),
}
"""Fields of the records; ``reported`` is a bool that every record has."""
FUNCTIONS: Final = {
    "pay": Signature((ADDRESS, MONEY), None, gas.PAY, _pay, effect=True),
    "operator": Signature((GATEWAY, INT), ADDRESS, gas.RECORD, _operator),
    "bound": Signature(
        (GATEWAY, INT), BOOL, gas.RECORD,
        lambda g, e: lambda f: f[0].host.operator(g(f), e(f)) is not None,
    ),
    "metrics": Signature(
        (GATEWAY, INT), Plain("metrics"), gas.LOOKUP,
        lambda g, e: lambda f: f[0].host.metrics(g(f), e(f)),
    ),
    "usage": Signature(
        (APPLICATION, ADDRESS, INT), Plain("usage"), gas.LOOKUP,
        lambda a, o, e: lambda f: f[0].host.usage(a(f), o(f), e(f)),
    ),
}  # fmt: skip
"""Besides ``emit``, whose arguments may be of any plain types."""
