"""Tables for people: what the chain and its index say, with names where they are known.

Amounts are integers of the smallest unit with the unit in the column name; times are UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from dii import codec
from dii.application.bank import resolve, supply
from dii.application.governance import powers, standing
from dii.application.records import ACCOUNTS, CONTRACTS, FORWARDS, GATEWAYS, PROPOSALS, STREAMS
from dii.application.settling import UNATTRIBUTED, epoch_status, whole_reports
from dii.crypto import format_address
from dii.genesis import TREASURY
from dii.minting import POLICIES, REASONS, RULES, ReceiptLeaf
from dii.minting.spec import from_spec
from dii.network.founding import STREAM
from dii.network.home import SCOPE
from dii.network.opened import Opened
from dii.network.receipt import describe, leaves_of
from dii.units import SECOND, format_time

_AMOUNTS: Final = {"amount", "dust", "earned", "fee", "paid", "pool", "rest", "unminted"}
"""Columns of the index whose unit follows in the names that people see."""
_RECEIPTS: Final = (
    "FROM (SELECT scope, stream, epoch FROM epochs) CROSS JOIN receipts USING (stream, epoch)"
)
_OF_GATEWAY: Final = f"{_RECEIPTS} WHERE gateway = ?"
"""One search an epoch instead of a scan of all receipts."""


def _labels(network: Opened, addresses: Sequence[bytes | None]) -> list[str | None]:
    names = network.home.names("account")
    return [None if one is None else network.home.label(one, names) for one in addresses]


def _gateways(network: Opened, hashes: Sequence[bytes]) -> list[str]:
    names = network.home.names("gateway") | {UNATTRIBUTED: "(unattributed)"}
    return [names.get(one, one.hex()) for one in hashes]


def _times(values: pd.Series[Any]) -> pd.Series[Any]:
    return pd.to_datetime(values, unit="us", utc=True)


def _query(network: Opened, columns: str, rest: str, *parameters: object) -> pd.DataFrame:
    """Select from the index; a column is called by its last word, an amount with its unit."""
    rows = network.view.index.query(f"SELECT {columns} {rest}", parameters)
    names = [column.split()[-1] for column in columns.split(",")]
    unit = network.currency.unit
    return pd.DataFrame(rows, columns=[f"{n}_{unit}" if n in _AMOUNTS else n for n in names])


def _where(conditions: Mapping[str, object], joined: str = " AND ") -> tuple[str, list[object]]:
    """Return the clause of those conditions that have a value, and the values."""
    given = {condition: value for condition, value in conditions.items() if value is not None}
    return f"WHERE {joined.join(given)}" if given else "", list(given.values())


def _earned(network: Opened, table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of earnings, with a column that says so where traffic is generated."""
    generated = network.genesis.generated
    return table if generated is None else table.assign(generated=generated)


def accounts(network: Opened, account: str | None = None) -> pd.DataFrame:
    """Return every account, or one: name, address, kind, balance, number of transactions sent.

    Who has no name here and never sent anything may have a key or not: its kind is ``unknown``.
    """
    unit, state = network.currency.unit, network.state
    names = network.home.names("account")
    forwards = {key for (key,), _ in state.items(FORWARDS)}
    rows = []
    only = [] if account is None else [network.home.address(account)]
    for (address,), item in state.items(ACCOUNTS, *only):
        assert isinstance(address, bytes)
        name = names.get(address)
        kind = "key" if name or item.nonce else "unknown"
        if network.home.is_claim(name, address):
            kind = "claim"
        if address == TREASURY:
            kind = "treasury"
        elif address in forwards:
            kind = "forwards"
        elif state.get(CONTRACTS, address) is not None:
            kind = "contract"
        text = format_address(address)
        rows.append((name or text, text, kind, item.balance, item.nonce))
    columns = ["account", "address", "kind", f"balance_{unit}", "transactions"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(
        [f"balance_{unit}", "account"], ascending=[False, True], ignore_index=True
    )


def gateways(network: Opened, operator: str | None = None) -> pd.DataFrame:
    """Return every gateway, or an account's: id, scope, owner now, and what it has earned.

    What gateways that nobody owns have earned is the treasury's. A claim account's gateways are
    those of the account that claimed it. Of several names of a gateway the one that stands for it
    is there.
    """
    unit, index, state = network.currency.unit, network.view.index, network.state
    bound = {key: resolve(state, item.owners[-1][1]) for key, item in state.items(GATEWAYS)}
    known, names = network.home.names("gateway"), network.names()
    paid = {key for (key,) in index.query("SELECT DISTINCT gateway FROM receipts")} if names else ()
    own = [key for key, name in known.items() if name not in names or key in paid]
    owners = {(SCOPE, key): None for key in own} | bound
    sums_of = "SELECT scope, gateway, sum(amount)"
    if operator is None:
        sums = index.query(f"{sums_of} {_RECEIPTS} GROUP BY scope, gateway")
    else:
        address = resolve(state, network.home.address(operator))
        owners = {key: owner for key, owner in owners.items() if owner == address}
        query = f"{sums_of} {_OF_GATEWAY} GROUP BY scope"
        sums = [row for _, key in owners for row in index.query(query, (key,))]
    earned: dict[object, int] = {(scope, gateway): amount for scope, gateway, amount in sums}
    hashes = [key for _, key in owners if isinstance(key, bytes)]
    table = pd.DataFrame(
        {
            "gateway": _gateways(network, hashes),
            "scope": [scope for scope, _ in owners],
            "operator": _labels(network, [*owners.values()]),
            f"earned_{unit}": [earned.get(key, 0) for key in owners],
            "hash": [one.hex() for one in hashes],
        }
    )
    table = table.sort_values(
        [f"earned_{unit}", "gateway"], ascending=[False, True], ignore_index=True
    )
    return _earned(network, table)


def epochs(network: Opened) -> pd.DataFrame:
    """Return every settled epoch by stream: gateways, weights, pool, paid, dust, rest."""
    # What names no gateway has a receipt, too.
    nameless = (
        "(SELECT 1 FROM receipts WHERE receipts.stream = epochs.stream"
        " AND receipts.epoch = epochs.epoch AND gateway = ?)"
    )
    columns = (
        f"epoch, stream, gateways - EXISTS {nameless} AS gateways, total_weight, pool, paid,"
        " pool - rest AS unminted, dust, rest, time AS settled, height"
    )
    table = _query(network, columns, "FROM epochs ORDER BY epoch, stream", UNATTRIBUTED)
    unit = network.currency.unit
    issued = [network.issued(*which) for which in zip(table["epoch"], table["stream"])]
    before = [one.dust_before for one in issued]
    table.insert(5, "contribution", contributions(network, table, "total_weight"))
    # What is paid comes out of the pool and of what was carried over; the rest is carried on.
    table[f"unminted_{unit}"] += before - table[f"paid_{unit}"] - table[f"dust_{unit}"]
    table["settled"] = _times(table["settled"])
    length = network.genesis.epoch_length // SECOND
    starts = pd.Timestamp(network.genesis.start) + pd.to_timedelta(table["epoch"] * length, "s")
    table.insert(1, "start", starts)
    return _earned(network, table)


def issuance(network: Opened, epoch: int, stream: str = STREAM) -> pd.DataFrame:
    """Return who got what in an epoch, the greatest amounts first.

    Raises
    ------
    NotYetSettled, HomeJoined, IndexDamaged
        The epoch has not been settled, or its receipts are not here.
    """
    leaves = [codec.loads(ReceiptLeaf, leaf) for _, leaf in leaves_of(network, epoch, stream)]
    leaves.sort(key=lambda one: (-one.amount, -one.weight))
    columns = {
        "gateway": _gateways(network, [one.gateway for one in leaves]),
        "operator": _labels(network, [one.payee for one in leaves]),
        "weight": [one.weight for one in leaves],
        f"amount_{network.currency.unit}": [one.amount for one in leaves],
    }
    return _earned(network, pd.DataFrame(columns))


def contributions(network: Opened, table: pd.DataFrame, weight: str = "weight") -> pd.Series[float]:
    """Return weights of epochs and streams in units of the rules that gave them."""
    issued = (network.issued(*which) for which in zip(table["epoch"], table["stream"]))
    scales = [from_spec(one.rule, RULES).scale for one in issued]
    return table[weight] / pd.Series(scales, table.index, dtype="float64")


def earnings(network: Opened, gateway: bytes) -> pd.DataFrame:
    """Return what a gateway, given by its hash, was paid in each epoch, to whom, and why not."""
    columns = "epoch, stream, weight, amount, payee AS paid_to, reason AS note"
    table = _query(network, columns, f"{_OF_GATEWAY} ORDER BY epoch, stream", gateway)
    table.insert(3, "contribution", contributions(network, table))
    table["paid_to"] = _labels(network, table["paid_to"].tolist())
    table["note"] = [REASONS[reason] for reason in table["note"]]
    return _earned(network, table)


def operators(network: Opened) -> pd.DataFrame:
    """Return what each operator has earned over all epochs, the greatest first.

    What came before an operator claimed an account and what came after are one.
    """
    forwards = {address: to for (address,), to in network.state.items(FORWARDS)}
    network.view.index.db.create_function("owner", 1, lambda one: forwards.get(one, one))
    columns = (
        "owner(payee) AS operator, count(DISTINCT gateway) AS gateways,"
        " count(DISTINCT CASE WHEN amount > 0 THEN epoch END) AS paid_epochs, sum(amount) AS earned"
    )
    rest = "FROM receipts WHERE gateway <> ? GROUP BY operator ORDER BY earned DESC, operator"
    table = _query(network, columns, rest, UNATTRIBUTED)
    table["operator"] = _labels(network, table["operator"].tolist())
    earned = table[f"earned_{network.currency.unit}"]
    total = earned.sum()
    table["share"] = earned / total if total else 0.0
    return _earned(network, table)


def blocks(network: Opened, height: int | None = None, begins: str = "") -> pd.DataFrame:
    """Return every block: height, time, transactions, gas, hash and root after it.

    Parameters
    ----------
    height, begins
        Only the one of this height; only those whose hash begins so.
    """
    columns = "height, time, transactions, gas, hash, app_hash"
    where = _where({"height = ?": height, "instr(hex(hash), ?) = 1": begins.upper() or None})
    table = _query(network, columns, f"FROM blocks {where[0]} ORDER BY height", *where[1])
    table["time"] = _times(table["time"])
    for name in ("hash", "app_hash"):
        table[name] = [one.hex() for one in table[name]]
    return table


def transactions(network: Opened, height: int | None = None, begins: str = "") -> pd.DataFrame:
    """Return every transaction: who, what, its code (0 is success), gas and fee.

    Parameters
    ----------
    height, begins
        Only those of this block; only those whose id begins so.
    """
    columns = "height, position, id, sender, nonce, kind, code, gas, fee, detail"
    where = _where({"height = ?": height, "instr(hex(id), ?) = 1": begins.upper() or None})
    rest = f"FROM transactions {where[0]} ORDER BY height, position"
    table = _query(network, columns, rest, *where[1])
    table["id"] = [one.hex() for one in table["id"]]
    table["sender"] = _labels(network, table["sender"].tolist())
    return table


def transfers(network: Opened, account: str | None = None) -> pd.DataFrame:
    """Return every movement of money but issuance and fees; all, or an account's."""
    columns = "height, position, kind, sender, recipient, amount"
    address = None if account is None else network.home.address(account)
    where = _where({"sender = ?": address, "recipient = ?": address}, " OR ")
    rest = f"FROM transfers {where[0]} ORDER BY height, position"
    table = _query(network, columns, rest, *where[1])
    for name in ("sender", "recipient"):
        table[name] = _labels(network, table[name].tolist())
    return table


def _reporters(network: Opened) -> str:
    scope = network.scope
    many, epoch, now = len(scope.reporters), scope.next_epoch, network.header().time
    lying = f"{many}, of whom {scope.liars} may lie without effect"
    said = "trusted reporter (one)" if many == 1 else lying
    if epoch_status(network.state, network.parameters, SCOPE, epoch, now) == "reporting":
        whole = whole_reports(network.state, SCOPE, scope)
        said += f"; epoch {epoch} waits with {len(whole)} of {many} reports"
    return said


def summary(network: Opened) -> dict[str, str]:
    """Return the network at a glance, a line an entry."""
    genesis, header = network.genesis, network.header()
    money = supply(network.state)
    power = powers(network.state)
    kind = f" ({genesis.notice})" if genesis.notice else ""
    base = network.view.store.base
    damage = network.damage
    of = "" if base or damage else f" of {network.last_epoch + 1} with data"
    lines = {
        "network": f"{genesis.chain_id}{kind}",
        "currency": f"{genesis.currency.name} ({genesis.currency.symbol})",
        "height": f"{header.height}, {format_time(header.time)}",
        "epochs": f"{network.settled} settled{of}, each"
        f" {genesis.epoch_seconds:,} s from {format_time(genesis.start_time)}",
        "minted": network.currency.format(money.minted),
        "burned": network.currency.format(money.burned),
        "reporters": _reporters(network),
        "header": header.hash.hex(),
    }
    if base:
        lines["begins"] = f"with the snapshot of height {base}: what was before is not here"
    if damage:
        lines["telemetry"] = damage
    if network.lag:
        lines["lag"] = f"{network.lag:,} later blocks are not shown yet"
    for (name,), stream in network.state.items(STREAMS):
        of = "" if name == STREAM else f"{name!s} "
        lines[f"{of}rule"] = describe(stream.rule, RULES, network.currency)
        lines[f"{of}policy"] = describe(stream.policy, POLICIES, network.currency)
    if len(power) > 1:
        lines["validators"] = f"{len(power)}, of {sum(power.values()):,} voting power"
    pending = [
        f"number {number!r} is {status}"
        for (number,), item in network.state.items(PROPOSALS)
        if (status := standing(network.parameters, item, header.time)) in {"open", "passed"}
    ]
    if pending:
        lines["proposals"] = ", ".join(pending)
    return lines
