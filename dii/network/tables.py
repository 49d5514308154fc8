"""Tables for people: what the chain and its index say, with names where they are known.

Amounts are integers of the smallest unit with the unit in the column name; times are UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
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
from dii.network.draft import STREAM
from dii.network.home import SCOPE
from dii.network.receipt import describe, leaves_of
from dii.network.view import Opened
from dii.units import format_time

_AMOUNTS: Final = {
    "amount", "balance", "dust", "earned", "fee", "paid", "pool", "rest", "unminted",
}  # fmt: skip
"""Columns whose unit follows in the names that people see."""
_ISSUED: Final = {"earned", "total_weight", "weight"}
"""Columns of tables that say whether traffic is generated."""
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


def _times(_: Opened, values: Sequence[int]) -> pd.DatetimeIndex:
    return pd.to_datetime([*values], unit="us", utc=True)


def _hex(_: Opened, values: Sequence[bytes]) -> list[str]:
    return [one.hex() for one in values]


_WRITTEN: Final[Mapping[str, Callable[[Opened, Sequence[Any]], Sequence[Any]]]] = {
    **dict.fromkeys(("operator", "paid_to", "recipient", "sender"), _labels),
    **dict.fromkeys(("app_hash", "hash", "id"), _hex),
    **dict.fromkeys(("settled", "time"), _times),
    "gateway": _gateways,
    "since_epoch": lambda _, epochs: pd.array(epochs, dtype="Int64"),
    "note": lambda _, reasons: [REASONS[one] for one in reasons],
}
"""How columns of these names are written; all others stay as the chain has them."""


def _table(network: Opened, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Return rows as a table for people: how a column is written follows from its name."""
    unit, generated = network.currency.unit, network.genesis.generated
    table = {}
    for name, values in zip(names, zip(*rows) if rows else repeat(())):
        header = f"{name}_{unit}" if name in _AMOUNTS else name
        table[header] = _WRITTEN[name](network, values) if name in _WRITTEN else values
    if generated is not None and not _ISSUED.isdisjoint(names):
        table["generated"] = [generated] * len(rows)
    return pd.DataFrame(table)


def _query(network: Opened, columns: str, rest: str, *parameters: object) -> pd.DataFrame:
    """Select from the index; a column is called by its last word."""
    rows = network.view.index.query(f"SELECT {columns} {rest}", parameters)
    return _table(network, [column.split()[-1] for column in columns.split(",")], rows)


def _where(conditions: Mapping[str, object], joined: str = " AND ") -> tuple[str, list[object]]:
    """Return the clause of those conditions that have a value, and the values."""
    given = {condition: value for condition, value in conditions.items() if value is not None}
    return f"WHERE {joined.join(given)}" if given else "", list(given.values())


def accounts(network: Opened, account: str | None = None) -> pd.DataFrame:
    """Return every account, or one: name, address, kind, balance, number of transactions sent.

    An account without a name here that never sent anything may have a key or not: its kind is
    ``unknown``.
    """
    state, names = network.state, network.home.names("account")
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
    rows.sort(key=lambda row: (-row[3], row[0]))
    return _table(network, ["account", "address", "kind", "balance", "transactions"], rows)


def owners(network: Opened) -> dict[tuple[str, bytes], tuple[int | None, bytes | None]]:
    """Return the latest owner of each gateway by scope and hash, and the owner's first epoch.

    That epoch may still come; it is None where nobody has bound the gateway yet. A claim account's gateways are those of the account that claimed it. Of several names of a
    gateway the one that stands for it is there, and others under which it was paid.
    """
    state, index, home = network.state, network.view.index, network.home
    names, last = network.names(), max(network.settled, network.last_epoch)
    paid = {key for (key,) in index.query("SELECT DISTINCT gateway FROM receipts")} if names else ()
    known = home.names("gateway").items()
    found: dict[Any, tuple[int | None, bytes | None]] = {
        (SCOPE, key): (None, None) for key, name in known if name not in names or key in paid
    }
    unbound = network.unbound(last).items()
    found |= {(SCOPE, home.hash("gateway", name)): (None, owner) for name, owner in unbound}
    found |= {key: item.owners[-1] for key, item in state.items(GATEWAYS)}
    return {key: (at, owner and resolve(state, owner)) for key, (at, owner) in found.items()}


def gateways(network: Opened, operator: str | None = None) -> pd.DataFrame:
    """Return every gateway, or an account's: id, scope, owner and since when, and what it earned.

    An owner who is decided for an epoch to come is there already. Gateways whose first epoch is still to be reported have the owner that is then bound. What
    gateways that nobody owns have earned is the treasury's.
    """
    owned, query = owners(network), network.view.index.query
    sums_of = "SELECT scope, gateway, sum(amount)"
    if operator is None:
        sums = query(f"{sums_of} {_RECEIPTS} GROUP BY scope, gateway")
    else:
        address = resolve(network.state, network.home.address(operator))
        owned = {key: one for key, one in owned.items() if one[1] == address}
        of_one = f"{sums_of} {_OF_GATEWAY} GROUP BY scope"
        sums = [row for _, key in owned for row in query(of_one, (key,))]
    earned = {(scope, gateway): amount for scope, gateway, amount in sums}
    rows = [
        (hashed, scope, owner, since, earned.get((scope, hashed), 0), hashed)
        for (scope, hashed), (since, owner) in owned.items()
    ]
    columns = ["gateway", "scope", "operator", "since_epoch", "earned", "hash"]
    table = _table(network, columns, rows)
    order = [f"earned_{network.currency.unit}", "gateway"]
    return table.sort_values(order, ascending=[False, True], ignore_index=True)


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
    unit, genesis = network.currency.unit, network.genesis
    issued = (network.issued(*which) for which in zip(table["epoch"], table["stream"]))
    before = [one.dust_before for one in issued]
    # What is paid comes out of the pool and of what was carried over; the rest is carried on.
    table[f"unminted_{unit}"] += before - table[f"paid_{unit}"] - table[f"dust_{unit}"]
    table.insert(4, "contribution", contributions(network, table, "total_weight"))
    starts = [genesis.span(epoch)[0] for epoch in table["epoch"]]
    table.insert(1, "start", _times(network, starts))
    return table


def issuance(network: Opened, epoch: int, stream: str = STREAM) -> pd.DataFrame:
    """Return who got what in an epoch, the greatest amounts first.

    Raises
    ------
    NotYetSettled, HomeJoined, IndexDamaged
        The epoch has not been settled, or its receipts are not here.
    """
    leaves = [codec.loads(ReceiptLeaf, leaf) for _, leaf in leaves_of(network, epoch, stream)]
    leaves.sort(key=lambda one: (-one.amount, -one.weight))
    rows = [(one.gateway, one.payee, one.weight, one.amount) for one in leaves]
    return _table(network, ["gateway", "operator", "weight", "amount"], rows)


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
    return table


def operators(network: Opened) -> pd.DataFrame:
    """Return what each operator has earned over all epochs, the greatest first.

    What came before an operator claimed an account and what came after are one. Operators whose
    gateways have no receipt yet have earned nothing.
    """
    index, forwards = network.view.index, {key: to for (key,), to in network.state.items(FORWARDS)}
    index.db.create_function("owner", 1, lambda one: forwards.get(one, one))
    rows = index.query(
        "SELECT owner(payee) AS operator, count(DISTINCT gateway), count(DISTINCT CASE WHEN"
        " amount > 0 THEN epoch END), sum(amount) FROM receipts WHERE gateway <> ?"
        " GROUP BY operator",
        (UNATTRIBUTED,),
    )
    counts = Counter(owner for _, owner in owners(network).values() if owner)
    rows += [(one, counts[one], 0, 0) for one in counts.keys() - {row[0] for row in rows}]
    rows.sort(key=lambda row: (-row[3], row[0]))
    total = sum(row[3] for row in rows) or 1
    names = ["operator", "gateways", "paid_epochs", "earned", "share"]
    return _table(network, names, [(*row, row[3] / total) for row in rows])


def blocks(network: Opened, height: int | None = None, begins: str = "") -> pd.DataFrame:
    """Return every block: height, time, transactions, gas, hash and root after it.

    Parameters
    ----------
    height, begins
        Only the one of this height; only those whose hash begins so.
    """
    columns = "height, time, transactions, gas, hash, app_hash"
    where = _where({"height = ?": height, "instr(hex(hash), ?) = 1": begins.upper() or None})
    return _query(network, columns, f"FROM blocks {where[0]} ORDER BY height", *where[1])


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
    return _query(network, columns, rest, *where[1])


def transfers(network: Opened, account: str | None = None) -> pd.DataFrame:
    """Return every movement of money but issuance and fees; all, or an account's."""
    columns = "height, position, kind, sender, recipient, amount"
    address = None if account is None else network.home.address(account)
    where = _where({"sender = ?": address, "recipient = ?": address}, " OR ")
    rest = f"FROM transfers {where[0]} ORDER BY height, position"
    return _query(network, columns, rest, *where[1])


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
