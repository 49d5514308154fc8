"""The books and the chain agree for any messages, and planted faults are found."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dii.application import (
    Application,
    TxResult,
    bank,
    bindings,
    governance,
    medians,
    settling,
)
from dii.application.actions import SetGas, SetStream, SpendTreasury
from dii.application.messages import (
    AssignGateway,
    Burn,
    Call,
    Claim,
    Propose,
    RegisterGateways,
    ReportChunk,
    ReportManifest,
    Transfer,
    Vote,
)
from dii.application.records import ACCOUNTS, Binding, Scope
from dii.errors import InvariantBroken
from tests.machine import DELAY, SEEN, Economy
from tests.stateful import run


def test_the_books_and_the_chain_agree_whatever_people_say():
    SEEN.clear()
    run(Economy, 60, 60)
    kinds = (
        Transfer, Burn, Call, AssignGateway, RegisterGateways, Claim, ReportManifest, ReportChunk,
        Propose, Vote,
    )  # fmt: skip
    met = {f"{kind.__name__} {how}" for kind in kinds for how in ("done", "refused")}
    met |= {f"{kind.__name__} enacted" for kind in (SetGas, SetStream, SpendTreasury)}
    assert (
        met | {"epoch settled by 3", "epoch settled by 4", "bound anew", "claimed"} <= SEEN.keys()
    )


# --- faults that it must find --------------------------------------------------------------------


class _Anybody(bytes):
    """An address that equals every address."""

    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def _upper(rows: list[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted(column)[len(column) // 2] for column in zip(*rows))


def _shifted(pool: int, weights: list[int], total: int) -> list[int]:
    """Divide as issuance does, but give the first amount to the last payee."""
    amounts = share(pool, weights, total)
    return [0, *amounts[1:-1], amounts[0] + amounts[-1]] if len(amounts) > 1 else amounts


def _early(context: Any, misbehaviour: Any) -> Any:
    return enact(replace(context, time=context.time + DELAY // 2), misbehaviour)


def _kept_nonce(self: Application, context: Any, position: int, known: Any) -> TxResult:
    """Execute, but do not count failed transactions."""
    before = self.state.get(ACCOUNTS, known.tx.sender)
    result = execute(self, context, position, known)
    after = self.state.get(ACCOUNTS, known.tx.sender)
    if result.code and before and after:
        self.state.put(ACCOUNTS, replace(after, nonce=before.nonce), known.tx.sender)
    return result


share, execute = settling.share, Application._execute
count, enact = governance.count, governance.enact
FAULTS: dict[str, tuple[object, str, object]] = {
    "nobody may lie": (Scope, "faulty", property(lambda _: 0)),
    "one reporter binds": (bindings, "agree", lambda *_: True),
    "upper medians": (medians, "lower_median", _upper),
    "an owner before the time": (Binding, "owner", lambda self, _: self.owners[-1][1]),
    "anybody hands on": (
        bindings,
        "bank",
        SimpleNamespace(**vars(bank) | {"resolve": lambda *_: _Anybody(20)}),
    ),
    "claims do not forward": (bank, "resolve", lambda _, address: address),
    "one is paid for another": (settling, "share", _shifted),
    "half the votes decide": (
        governance,
        "count",
        lambda *given: (count(*given)[0] + 1, *count(*given)[1:]),
    ),
    "decisions act early": (governance, "enact", _early),
    "failures take no nonce": (Application, "_execute", _kept_nonce),
    "money from nowhere": (bank, "debit", lambda *_: None),
}
"""Name of a fault to its place, and the replacement."""


@pytest.mark.parametrize("name", FAULTS)
def test_the_machine_finds(name, monkeypatch):
    where, what, fault = FAULTS[name]
    monkeypatch.setattr(where, what, fault)
    with pytest.raises((AssertionError, InvariantBroken)):
        run(Economy, 60, 60)
