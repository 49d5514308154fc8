"""Tables for people: contents of the chain and its index, with names where they are known.

Each table is a function that yields rows, plain tuples in the order of the columns; ``TABLES`` has
them all. People get a data frame of it: amounts are integers of the smallest unit with the unit in
the column name, times are UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from itertools import repeat
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from dii import codec, crypto
from dii.application import bank, governance, pages, records
from dii.application import epochs as calendar
from dii.genesis import TREASURY
from dii.minting import REASONS, ReceiptLeaf
from dii.network.home import SCOPE, STREAM
from dii.network.receipt import describe, leaves_of, scale
from dii.network.view import View
from dii.testing.simulator import Event
from dii.units import format_time

if TYPE_CHECKING:
    import pandas as pd

P = ParamSpec("P")
V = TypeVar("V", bound=View)
Row = tuple[Any, ...]
Rows = Callable[Concatenate[V, P], Iterable[Row]]
Framed = Callable[Concatenate[V, P], "pd.DataFrame"]

_AMOUNTS: Final = {
    "amount", "balance", "dust", "earned", "fee", "paid", "pool", "purse", "rest", "unminted",
}  # fmt: skip
"""Columns whose unit follows in the names that people see."""
_TIMES: Final = {"acts", "expires", "settled", "start", "time"}
"""Columns of microseconds since 1970."""
PENDING: Final = {"open", "passed"}
"""Statuses of proposals that may still change something."""
_UNKNOWN: Final = {"since_epoch"}
"""Columns of integers that may be unknown."""
_ISSUED: Final = {"earned", "total_weight", "weight"}
"""Columns of tables that say whether traffic is generated."""
_RECEIPTS: Final = (
    "FROM (SELECT scope, stream, epoch FROM epochs) CROSS JOIN receipts USING (stream, epoch)"
)
_OF_GATEWAY: Final = f"{_RECEIPTS} WHERE gateway = ?"
"""One search per epoch instead of a scan of all receipts."""


TABLES: Final[dict[str, tuple[list[str], Callable[..., Iterable[Row]]]]] = {}
"""Columns of each table, and the function that yields its rows."""


def table(columns: str) -> Callable[[Rows[V, P]], Framed[V, P]]:
    """Enter a function that yields rows into ``TABLES``, and have it return a data frame."""

    def entered(rows: Rows[V, P]) -> Framed[V, P]:
        names, _ = TABLES[rows.__name__] = columns.split(), rows
        rows.__annotations__["return"] = "pd.DataFrame"  # as signatures are shown

        @wraps(rows)
        def framed(network: V, /, *args: P.args, **kwargs: P.kwargs) -> pd.DataFrame:
            return frame(network, names, [*rows(network, *args, **kwargs)])

        return framed

    return entered


def _labels(network: View, addresses: Sequence[bytes | None]) -> list[str | None]:
    names = network.home.names("account")
    return [None if one is None else network.home.label(one, names) for one in addresses]


def _gateways(network: View, hashes: Sequence[bytes]) -> list[str]:
    names = network.home.names("gateway") | {pages.ZERO_HASH: "(unattributed)"}
    return [names.get(one, one.hex()) for one in hashes]


def _hex(_: View, values: Sequence[bytes | None]) -> list[str | None]:
    return [None if one is None else one.hex() for one in values]


_WRITTEN: Final[Mapping[str, Callable[[View, Sequence[Any]], Sequence[Any]]]] = {
    **dict.fromkeys(
        ("deployed_by", "operator", "paid_to", "proposer", "recipient", "sender", "validator"),
        _labels,
    ),
    **dict.fromkeys(("app_hash", "hash", "id", "value"), _hex),
    "gateway": _gateways,
}
"""Form of columns of these names; all others stay as the chain has them."""


def frame(network: View, names: Sequence[str], rows: Sequence[Row]) -> pd.DataFrame:
    """Return rows as a data frame for people: how a column is written follows from its name."""
    import pandas as pd  # noqa: PLC0415 - rows alone do without

    unit, generated = network.currency.unit, network.genesis.generated
    columns: dict[str, Sequence[Any]] = {}
    for name, values in zip(names, zip(*rows) if rows else repeat(())):
        header = f"{name}_{unit}" if name in _AMOUNTS else name
        columns[header] = _WRITTEN[name](network, values) if name in _WRITTEN else values
    if generated is not None and not _ISSUED.isdisjoint(names):
        columns["generated"] = [generated] * len(rows)
    table = pd.DataFrame(columns if rows else [], columns=[*columns])
    for name in _UNKNOWN.intersection(names):
        table[name] = table[name].astype("Int64")
    for name in _TIMES.intersection(names):
        table[name] = pd.to_datetime(table[name], unit="us", utc=True)
    return table


def _select(
    network: View, name: str, conditions: Mapping[str, object], joined: str = " AND "
) -> list[Row]:
    """Return the rows of a table of the index by those conditions that have a value."""
    given = {condition: value for condition, value in conditions.items() if value is not None}
    where = f"WHERE {joined.join(given)}" if given else ""
    query = f"SELECT {', '.join(TABLES[name][0])} FROM {name} {where} ORDER BY 1, 2"
    return network.view.index.query(query, [*given.values()])


@table("account address kind balance transactions")
def accounts(network: View, account: str | None = None) -> list[Row]:
    """Return every account, or one: name, address, kind, balance, number of transactions sent.

    An account without a name here that never sent anything may have a key or not: its kind is
    ``unknown``. An account that is asked for and never had money is ``unused``.
    """
    state, names = network.state, network.home.names("account")
    forwards = {key for (key,), _ in state.items(records.FORWARDS)}
    rows: list[Row] = []
    asked = () if account is None else (network.home.address(account),)
    known = dict(state.items(records.ACCOUNTS, *asked))
    unused = {asked: bank.NOBODY} if asked else {}
    for (address,), item in (known or unused).items():
        assert isinstance(address, bytes)
        name, text = names.get(address), crypto.format_address(address)
        kinds = {
            "unused": not known,
            "treasury": address == TREASURY,
            "forwards": address in forwards,
            "contract": state.get(records.CONTRACTS, address) is not None,
            "claim": network.home.is_claim(name, address),
            "key": name or item.nonce,
        }
        kind = next((kind for kind, fits in kinds.items() if fits), "unknown")
        rows.append((name or text, text, kind, item.balance, item.nonce))
    return sorted(rows, key=lambda row: (-row[3], row[0]))


def owners(
    network: View, known: Mapping[bytes, str]
) -> dict[tuple[str, bytes], tuple[int | None, bytes | None]]:
    """Return the owner of each gateway in the open epoch and the owner's first epoch.

    Keys are scope and hash. The epoch is None while the gateway is not bound, and later than the
    open one for a first owner. A claim account's gateways are those of the account that claimed
    it. Of several names of a gateway, the resolved name is listed, and others under which it was
    paid. ``known`` has the names of gateways.
    """
    state, index, home = network.state, network.view.index, network.home
    names, last = network.names(), max(network.settled, network.last_epoch)
    paid = {key for (key,) in index.query("SELECT DISTINCT gateway FROM receipts")} if names else ()
    found: dict[Any, tuple[int | None, bytes | None]] = {
        (SCOPE, key): (None, None)
        for key, name in known.items()
        if name not in names or key in paid
    }
    unbound = network.unbound(last).items()
    found |= {(SCOPE, home.hash("gateway", name)): (None, owner) for name, owner in unbound}
    open_epochs = {name: scope.next_epoch for (name,), scope in state.items(records.SCOPES)}
    for key, item in state.items(records.GATEWAYS):
        begun = [one for one in item.owners if one[0] <= open_epochs[key[0]]]
        found[key] = (begun or item.owners)[-1 if begun else 0]
    resolved = cache(lambda owner: owner and bank.resolve(state, owner))
    return {key: (since, resolved(owner)) for key, (since, owner) in found.items()}


@table("gateway scope operator since_epoch earned hash")
def gateways(network: View, operator: str | None = None) -> list[Row]:
    """Return every gateway, or an account's: id, scope, owner and since when, and what it earned.

    The owner is that of the open epoch. Gateways whose first epoch is still to be reported have
    the owner that is then bound. The earnings of gateways without an owner are the treasury's.
    """
    known, query = network.home.names("gateway"), network.view.index.query
    owned = owners(network, known)
    sums_of = "SELECT scope, gateway, sum(amount)"
    if operator is None:
        sums = query(f"{sums_of} {_RECEIPTS} GROUP BY scope, gateway")
    else:
        address = bank.resolve(network.state, network.home.address(operator))
        owned = {key: one for key, one in owned.items() if one[1] == address}
        of_one = f"{sums_of} {_OF_GATEWAY} GROUP BY scope"
        sums = [row for _, key in owned for row in query(of_one, (key,))]
    earned = {(scope, gateway): amount for scope, gateway, amount in sums}
    rows = [
        (key, scope, owner, since, earned.get((scope, key), 0), key)
        for (scope, key), (since, owner) in owned.items()
    ]
    return sorted(rows, key=lambda row: (-row[4], known.get(row[0]) or row[0].hex()))


@table(
    "epoch start stream gateways total_weight contribution pool paid unminted dust rest settled"
    " height"
)
def epochs(network: View) -> Iterable[Row]:
    """Return every settled epoch by stream: gateways, weights, pool, paid, dust, rest."""
    # The row of receptions without a gateway has a receipt, too.
    query = (
        "SELECT epoch, stream, EXISTS (SELECT 1 FROM receipts r WHERE r.epoch = e.epoch"
        " AND r.stream = e.stream AND gateway = ?), time, height FROM epochs e ORDER BY 1, 2"
    )
    rows = network.view.index.query(query, (pages.ZERO_HASH,))
    for epoch, stream, unattributed, settled, height in rows:
        one, (start, _) = network.issued(epoch, stream), network.genesis.span(epoch)
        # Payments come from the pool and the dust carried over; the rest is carried on.
        unminted = one.pool + one.dust_before - one.rest - one.paid - one.dust_after
        money = one.pool, one.paid, unminted, one.dust_after, one.rest
        shares = one.total_weight, one.total_weight / scale(one)
        yield epoch, start, stream, one.count - unattributed, *shares, *money, settled, height


@table("gateway operator weight amount")
def issuance(network: View, epoch: int, stream: str = STREAM) -> list[Row]:
    """Return the payments of an epoch, the greatest amounts first.

    Raises
    ------
    NotYetSettled, HomeJoined, IndexDamaged
        The epoch has not been settled, or its receipts are not here.
    """
    leaves = [codec.loads(ReceiptLeaf, leaf) for _, leaf in leaves_of(network, epoch, stream)]
    leaves.sort(key=lambda one: (-one.amount, -one.weight))
    return [(one.gateway, one.payee, one.weight, one.amount) for one in leaves]


@table("epoch stream weight contribution amount paid_to note")
def earnings(network: View, gateway: codec.GatewayHash) -> Iterable[Row]:
    """Return the payments of each epoch for a gateway, given by its hash."""
    query = f"SELECT epoch, stream, weight, amount, payee, reason {_OF_GATEWAY} ORDER BY 1, 2"
    for epoch, stream, weight, amount, payee, reason in network.view.index.query(query, (gateway,)):
        contribution = weight / scale(network.issued(epoch, stream))
        yield epoch, stream, weight, contribution, amount, payee, REASONS[reason]


@table("operator gateways paid_epochs earned share")
def operators(network: View) -> list[Row]:
    """Return the earnings of each operator over all epochs, the greatest first.

    The amounts from before and after an operator claimed an account are added. Operators whose
    gateways have no receipt yet have earned nothing.
    """
    index = network.view.index
    forwards = {key: to for (key,), to in network.state.items(records.FORWARDS)}
    index.db.create_function("owner", 1, lambda one: forwards.get(one, one))
    rows = index.query(
        "SELECT owner(payee) AS operator, count(DISTINCT gateway), count(DISTINCT CASE WHEN"
        " amount > 0 THEN epoch END), sum(amount) FROM receipts WHERE gateway <> ?"
        " GROUP BY operator",
        (pages.ZERO_HASH,),
    )
    known = network.home.names("gateway")
    counts = Counter(owner for _, owner in owners(network, known).values() if owner)
    rows += [(one, counts[one], 0, 0) for one in counts.keys() - {row[0] for row in rows}]
    rows.sort(key=lambda row: (-row[3], row[0]))
    total = sum(row[3] for row in rows) or 1
    return [(*row, row[3] / total) for row in rows]


@table("height time transactions gas hash app_hash")
def blocks(network: View, height: int | None = None, begins: str = "") -> list[Row]:
    """Return every block: height, time, transactions, gas, hash and root after it.

    Parameters
    ----------
    height, begins
        Only the block of this height; only blocks whose hash begins so.
    """
    begun = begins.upper() or None
    return _select(network, "blocks", {"height = ?": height, "instr(hex(hash), ?) = 1": begun})


@table("height position id sender nonce kind code gas fee detail")
def transactions(network: View, height: int | None = None, begins: str = "") -> list[Row]:
    """Return every transaction: sender, kind, code (0 is success), gas and fee.

    Parameters
    ----------
    height, begins
        Only transactions of this block; only those whose id begins so.
    """
    begun = begins.upper() or None
    return _select(network, "transactions", {"height = ?": height, "instr(hex(id), ?) = 1": begun})


@table("height position kind sender recipient amount")
def transfers(network: View, account: str | None = None) -> list[Row]:
    """Return every movement of money but issuance and fees; all, or an account's."""
    address = None if account is None else network.home.address(account)
    ends = {"sender = ?": address, "recipient = ?": address}
    return _select(network, "transfers", ends, " OR ")


def _reporters(network: View) -> str:
    scope = network.scope
    many, epoch, now = len(scope.reporters), scope.next_epoch, network.header().time
    lying = f"{many}, of whom {scope.faulty} may lie without effect"
    text = "trusted reporter (one)" if many == 1 else lying
    if calendar.status(network.state, network.parameters, SCOPE, epoch, now) == "reporting":
        whole = calendar.whole_reports(network.state, SCOPE, scope)
        text += f"; epoch {epoch} waits with {len(whole)} of {many} reports"
    return text


# --- consensus ---------------------------------------------------------------------------------


def _events(network: View, query: str, *nodes: int) -> Iterable[Row]:
    """Yield rows of the record of simulated validators, with addresses for numbers of nodes."""
    keys = [bytes.fromhex(one.public_key) for one in network.genesis.validators]
    signers = [crypto.address_of(key) for key in keys]
    for row in network.recorded.execute(query):
        yield tuple(
            signers[value] if at in nodes and value is not None else value
            for at, value in enumerate(row)
        )


@table("height round time proposer prevotes nil_prevotes precommits nil_precommits decided")
def rounds(network: View) -> Iterable[Row]:
    """Return each round of simulated validators: when it began, its votes, and if it decided.

    Of contradicting votes the first counts.
    """
    voted = [
        f"kind = '{kind}' AND target IS NULL AND value IS {nil}NULL"
        for kind in ("prevote", "precommit")
        for nil in ("NOT ", "")
    ]
    counts = ", ".join(f"count(DISTINCT iif({one}, node, NULL))" for one in voted)
    proposer = "max(iif(kind = 'proposal', source, NULL))"
    columns = f"height, round, min(time), {proposer}, {counts}, max(kind = 'decide')"
    query = f"SELECT {columns} FROM events WHERE round >= 0 GROUP BY 1, 2 ORDER BY 1, 2"
    return ((*row, bool(decided)) for *row, decided in _events(network, query, 3))


@table("height round time validator kind value")
def votes(network: View) -> Iterable[Row]:
    """Return the votes that simulated validators sent; of contradicting ones the first."""
    where = "target IS NULL AND kind IN ('prevote', 'precommit')"
    query = (
        f"SELECT height, round, time, node, kind, value FROM events WHERE {where} ORDER BY rowid"
    )
    return _events(network, query, 3)


@table("time height round kind sender recipient value lost")
def messages(network: View) -> Iterable[Row]:
    """Return the messages between simulated validators, those that arrived and those lost."""
    columns = "time, height, round, replace(kind, 'lost ', ''), source, target, value"
    where = "target IS NOT NULL ORDER BY rowid"
    query = f"SELECT {columns}, kind LIKE 'lost %' FROM events WHERE {where}"
    return ((*row, bool(lost)) for *row, lost in _events(network, query, 4, 5))


@table("height validator evidence")
def evidence(network: View) -> list[Row]:
    """Return the validators that blocks have evidence against, and the height of the evidence."""
    query = "SELECT height, validator, evidence FROM misbehaviour ORDER BY 1"
    return network.view.index.query(query)


def theatre(network: View, first: int, last: int) -> list[Event]:
    """Return all that simulated validators did at some heights, step by step."""
    query = "SELECT * FROM events WHERE height BETWEEN ? AND ? ORDER BY rowid"
    return [Event(*row) for row in network.recorded.execute(query, (first, last))]


def summary(network: View) -> dict[str, str]:
    """Return the network at a glance, one line per entry."""
    genesis, header, state = network.genesis, network.header(), network.state
    money, power, base = bank.supply(state), governance.powers(state), network.view.store.base
    show, damage = network.currency.format, network.damage
    of = "" if base or damage else f" of {network.last_epoch + 1} with data"
    joined = f"with the snapshot of height {base}: what was before is not here"
    later = f"{network.lag:,} later blocks are not shown yet"
    lines = {
        "network": genesis.chain_id + (f" ({genesis.notice})" if genesis.notice else ""),
        "currency": f"{genesis.currency.name} ({genesis.currency.symbol})",
        "height": f"{header.height}, {format_time(header.time)}",
        "epochs": f"{network.settled} settled{of}, each"
        f" {genesis.epoch_seconds:,} s from {format_time(genesis.start_time)}",
        "minted": show(money.minted),
        "burned": show(money.burned),
        "reporters": _reporters(network),
        "header": header.hash.hex(),
        "begins": joined if base else "",
        "telemetry": damage,
        "lag": later if network.lag else "",
    }
    for (name,), stream in state.items(records.STREAMS):
        of = "" if name == STREAM else f"{name!s} "
        lines[f"{of}rule"] = describe(stream.rule, network.currency)
        lines[f"{of}policy"] = describe(stream.policy, network.currency)
    voters = f"{len(power)}, of {sum(power.values()):,} voting power"
    pending = [
        f"number {number!r} is {status}"
        for (number,), item in state.items(records.PROPOSALS)
        if (status := governance.standing(network.parameters, item, header.time)) in PENDING
    ]
    lines |= {"validators": voters if len(power) > 1 else "", "proposals": ", ".join(pending)}
    return {name: line for name, line in lines.items() if line}
