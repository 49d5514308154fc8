"""Statements: earnings and movements of an operator's accounts in a month, and the reasons.

Every figure follows from the receipts, the index or the telemetry. *Earned* counts the epochs of
the month; *credited* counts its blocks, as the balance does: the earnings of the last epoch arrive
after midnight. Opening and closing balance are read from the states of those days, not summed up,
so that a movement without a row of its own shows as ``other`` instead of being lost.

Findings are computed, not advice: the same rule over the same row with one metric changed, or a
sum of amounts that the rule left out. A receipt does not tell the places of other gateways, or why
they earn more.

A claim account that was claimed and the account of its key are one: the statement is of all
accounts whose money arrives in one account, whichever of their names is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dii import codec, crypto, errors
from dii.application import bank, epochs, records
from dii.genesis import TREASURY
from dii.ledger import block, snapshot
from dii.minting import REASONS, RULES, ReceiptLeaf, Rule
from dii.minting.spec import from_spec
from dii.network.home import SCOPE
from dii.network.receipt import describe, leaves_of
from dii.network.view import View
from dii.schema import METRICS, SHAPLEY_UNIT
from dii.units import PPM, SECOND, Currency, format_time, to_microseconds

if TYPE_CHECKING:
    import pandas as pd

RECEIPTS: Final = (
    "epoch", "start", "stream", "gateway", "contribution", "total_contribution", "pool", "amount",
    "missed", "note", "rule", "policy", "time",
)  # fmt: skip
Leaves = Callable[[int, str], list[tuple[int, ReceiptLeaf]]]
"""Function of epoch and stream; see :func:`_leaves`."""
MOVEMENTS: Final = ("time", "kind", "counterparty", "amount", "note")
REJECTED: Final = ("gateway", "reason", "records", "first")


@dataclass(frozen=True)
class Statement:
    """Statement of an operator's accounts in a calendar month (UTC).

    Attributes
    ----------
    operator, accounts
        The given name, and the addresses of its accounts, the paid account first.
    month, chain, laboratory, generated, currency
        Month as ``2018-04``, and the facts of the network.
    header
        Header against which every receipt can be proven.
    opening, closing
        Balance at the beginning of the month, and at its end or now.
    credited
        Sum of issuance in between.
    receipts
        One row per receipt of the month's epochs: reported metrics and payment. ``contribution`` is
        in units of the rule, and ``missed`` is the contribution that being online throughout would
        have added by the same rule; amounts are in the smallest unit.
    metrics
        Metrics that the rules use.
    movements
        Transfers and fees in the month's blocks; ``amount`` is below zero where it went out. The
        ``note`` of a fee names its transaction, and tells whether it was refused.
    rejected
        Records of the month that the telemetry has set aside: gateway, reason, count, place of the
        first. Records without a time belong to no month; loading counted them.
    findings
        Reasons why the month did not earn more, one sentence each.
    """

    operator: str
    accounts: tuple[str, ...]
    month: str
    chain: str
    laboratory: bool
    generated: str | None
    currency: Currency
    header: block.Header
    opening: int
    closing: int
    credited: int
    receipts: pd.DataFrame
    metrics: tuple[str, ...]
    movements: pd.DataFrame
    rejected: pd.DataFrame
    findings: tuple[str, ...]

    @property
    def earned(self) -> int:
        """Sum of the receipts of the month's epochs."""
        return int(self.receipts["amount"].sum())

    @property
    def other(self) -> int:
        """Sum of movements without a row here, such as the treasury's income from fees."""
        moved = int(self.movements["amount"].sum())
        return self.closing - self.opening - self.credited - moved

    def table(self) -> pd.DataFrame:
        """Return receipts and movements as one table, with the unit in the names of amounts.

        The rest of the change of the balance has rows of its own, so that all rows add up.
        """
        import pandas as pd  # noqa: PLC0415 - slow

        _, end = _month(self.month)
        left = {"issued between months": self.credited - self.earned, "other": self.other}
        rest = [(end, kind, "", amount, "") for kind, amount in left.items() if amount]
        whole = dict.fromkeys(self.receipts.select_dtypes("integer"), "Int64")  # never a float
        receipts = self.receipts.assign(kind="issuance").astype(whole)
        parts = [receipts, self.movements, _table(MOVEMENTS, rest)]
        table = pd.concat(parts, ignore_index=True)
        table = table[list(dict.fromkeys([*MOVEMENTS, *table.columns]))]
        if self.generated:
            table["generated"] = self.generated
        money = {name: f"{name}_{self.currency.unit}" for name in ("amount", "pool")}
        return table.sort_values("time", kind="stable", ignore_index=True).rename(columns=money)


def statement(network: View, operator: str, month: str) -> Statement:
    """Return an operator's statement of a month.

    Parameters
    ----------
    operator
        Name or address of an account.
    month
        Month as ``2018-04``; it ends at midnight UTC.

    Raises
    ------
    UnknownName, BadMonth
        There is no account of this name, or the month cannot be read.
    HomeJoined
        The chain begins here with a snapshot that was taken after the month began.
    """
    first, last = _month(month)
    index, genesis, names = network.view.index, network.genesis, network.home.names("account")
    owner = bank.resolve(network.state, network.home.address(operator))
    claims = [key for (key,), to in network.state.items(records.FORWARDS) if to == owner]
    accounts = [owner, *(key for key in claims if isinstance(key, bytes))]
    heights = "SELECT coalesce(max(height), 0) FROM blocks WHERE time < ?"
    bounds = [index.query(heights, (time,))[0][0] for time in (first, last)]
    before, after = (min(height, network.height) for height in bounds)  # another may be writing
    if before < network.view.store.base:
        raise network.lacks(f"the blocks of {month} are not all here")
    low, high = (epochs.first_from(network.parameters, time) for time in (first, last))
    leaves = cache(partial(_leaves, network, accounts))
    receipts, metrics = _receipts(network, leaves, low, high)
    findings = [*_findings(network, receipts, metrics)]
    if network.home.is_claim(names.get(owner), owner):
        findings.append("Nobody has claimed this account: money arrives, and none can be sent.")
    if network.damage:
        findings.append(f"What was set aside is not known: the telemetry {network.damage}.")
    ends = network.settled if network.damage else network.last_epoch + 1
    waiting = max(0, min(high, ends) - max(low, network.settled))
    if waiting:
        missing = "Epochs of the month that are not settled yet, and missing here"
        findings.append(f"{missing}: {waiting}.")
    end, _ = genesis.span(max(ends, network.settled))
    if first >= end:
        day = format_time(end - SECOND)[:10]
        findings.append(f"The data ends with {day}: there is none of this month.")
    opening, closing = (_balance(network, accounts, height) for height in (before, after))
    credited = _credited(network, accounts, leaves, before, after)
    movements = _movements(network, accounts, before, after)
    gap = closing - opening - credited - int(movements["amount"].sum())
    if gap and owner != TREASURY and network.state.get(records.CONTRACTS, owner) is None:
        money = network.currency.format(gap)
        findings.append(f"{money} moved without a row: run dii rebuild, as the index is damaged.")
    return Statement(
        operator=operator, accounts=tuple(map(crypto.format_address, accounts)), month=month,
        chain=genesis.chain_id, laboratory=genesis.laboratory, generated=genesis.generated,
        currency=network.currency, header=network.header(), opening=opening, closing=closing,
        credited=credited, receipts=receipts, metrics=metrics, movements=movements,
        rejected=_set_aside(network, accounts, set(receipts["gateway"]), first, last),
        findings=tuple(findings),
    )  # fmt: skip


def _month(text: str) -> tuple[int, int]:
    """Return the first microsecond of a month and of the next."""
    try:
        begin = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
        end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    except ValueError:
        raise errors.BadMonth(text=text) from None
    return to_microseconds(begin), to_microseconds(end)


def _leaves(
    network: View, accounts: Sequence[bytes], epoch: int, stream: str
) -> list[tuple[int, ReceiptLeaf]]:
    """Return height and leaf of some accounts' receipts, verified against the state."""
    rows = leaves_of(network, epoch, stream)
    likely = [row for row in rows if any(one in row[1] for one in accounts)]
    found = [(height, codec.loads(ReceiptLeaf, leaf)) for height, leaf in likely]
    return [(height, leaf) for height, leaf in found if leaf.payee in accounts]


def _table(
    columns: Sequence[str], rows: Sequence[tuple[Any, ...] | Mapping[str, Any]]
) -> pd.DataFrame:
    """Return rows as a data frame; ``start`` and ``time`` are given in microseconds since 1970."""
    import pandas as pd  # noqa: PLC0415 - slow

    table = pd.DataFrame(rows, columns=[*columns])
    for name in {"start", "time"}.intersection(columns if rows else ()):
        table[name] = pd.to_datetime(table[name], unit="us", utc=True)
    return table


def _receipts(
    network: View, leaves: Leaves, low: int, high: int
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the receipts of a range of epochs, and the metrics of their rules."""
    names, currency = network.home.names("gateway"), network.currency
    times = dict(network.view.index.query("SELECT height, time FROM blocks"))
    rows: list[dict[str, Any]] = []
    needs: set[str] = set()
    issued = sorted(
        (int(epoch), str(stream))
        for (stream, epoch), _ in network.state.items(records.ISSUANCES)
        if low <= int(epoch) < high
    )
    for epoch, stream in issued:
        start, issuance = network.genesis.span(epoch)[0], network.issued(epoch, stream)
        for height, leaf in leaves(epoch, stream):
            if height not in times:
                raise errors.IndexDamaged(file=network.view.index.path, epoch=epoch, stream=stream)
            rule, values = from_spec(issuance.rule, RULES), dict(zip(issuance.metrics, leaf.values))
            weights = leaf.weight, issuance.total_weight, _missed(rule, values, leaf.weight)
            contribution, total, missed = (weight / rule.scale for weight in weights)
            note = REASONS[leaf.reason]
            if not (leaf.weight or note):
                zero = " and ".join(f"{name} {values[name]:,}" for name in rule.needs)
                note = f"the rule gives nothing at {zero}"
            row = (
                epoch, start, stream, names.get(leaf.gateway, leaf.gateway.hex()), contribution,
                total, issuance.pool, leaf.amount, missed, note,
                describe(issuance.rule, currency), describe(issuance.policy, currency),
                times[height],
            )  # fmt: skip
            rows.append(dict(zip(RECEIPTS, row)) | values)
            needs.update(rule.needs)
    given = [name for name in METRICS if any(name in row for row in rows)]
    table = _table([*RECEIPTS, *given], rows)
    table[given] = table[given].astype("Int64")
    return table, tuple(name for name in METRICS if name in needs)


def _missed(rule: Rule, values: dict[str, int | None], weight: int) -> int:
    """Return the weight that being online throughout would have added, all else equal."""
    known = {name: value for name, value in values.items() if value is not None}
    if "online_ppm" not in rule.needs or not known.keys() >= set(rule.needs):
        return 0
    columns = {name: [PPM if name == "online_ppm" else known[name]] for name in rule.needs}
    return max(0, rule.weights(columns)[0] - weight)


def _findings(network: View, receipts: pd.DataFrame, needs: Sequence[str]) -> Iterator[str]:
    """Yield reasons why these receipts are not higher, as far as the receipts tell."""
    currency, length = network.currency, network.genesis.epoch_length
    nothing = receipts[receipts["contribution"] == 0]
    kinds = nothing["note"].str.replace(r" at .*", " at what was reported", regex=True)
    for note, rows in nothing.groupby(kinds, sort=False):
        counts = rows["gateway"].value_counts()
        yield (
            f"{len(rows)} of {len(receipts)} receipts earned nothing, since {note}:"
            f" {_listed(f'{name} ({count})' for name, count in counts.items())}."
        )
    once = receipts.drop_duplicates(["epoch", "gateway"]).set_index("gateway")
    if "online_ppm" in once:
        online = once["online_ppm"].dropna()
        connected = once["connected_ppm"].dropna() if "connected_ppm" in once else online
        away = _hours(PPM - connected, length)
        deaf = _hours(connected - online, length)
        sentences = [f"Not connected: {away}."] if away else []
        sentences += [f"Connected but deaf, as nothing was heard for long: {deaf}."] if deaf else []
        if sentences:
            sentences.append(
                f"Online throughout, by the same rule and all else equal, the contribution would"
                f" have been {receipts['missed'].sum():,.2f} units more, for about"
                f" {_gain(receipts) / 10**currency.decimals:,.0f} {currency.symbol} more."
                if receipts["missed"].any()
                else "Of what it does not hear a gateway is paid nothing."
            )
            yield " ".join(sentences)
    if "shapley_uplinks" in needs and {"uplinks", "sole_uplinks"} <= set(once):
        known = once[["uplinks", "sole_uplinks", "shapley_uplinks"]].dropna().sum()
        shared = int(known["uplinks"] - known["sole_uplinks"])
        counted = known["shapley_uplinks"] / SHAPLEY_UNIT - known["sole_uplinks"]
        if shared:
            yield (
                f"{shared:,} of {known['uplinks']:,} delivered uplinks were heard by other"
                f" gateways, too, and counted for {counted:,.2f}; each that one gateway alone"
                " hears counts 1."
            )
    if {"receptions", "uplinks"} <= set(once) and any("uplink" in name for name in needs):
        heard, delivered = (int(once[name].sum()) for name in ("receptions", "uplinks"))
        if heard > delivered:
            yield (
                f"{heard - delivered:,} of {heard:,} frames heard were no delivered uplinks (joins,"
                " frames of other networks, or lost behind the gateway) and did not count."
            )
    if "excluded_frames" in once and once["excluded_frames"].sum():
        yield f"{once['excluded_frames'].sum():,} frames were set aside and did not count."


def _hours(parts: pd.Series[Any], length: int) -> str:
    """List the hours of parts (ppm) of epochs by gateway, without negligible ones."""
    hours = (parts.groupby(level=0).sum() / PPM * length / (3600 * SECOND)).sort_values()[::-1]
    return _listed(f"{name} {of:,.1f} h" for name, of in hours[hours >= 0.1].items())


def _gain(receipts: pd.DataFrame) -> float:
    """Return the amount that ``missed`` would have earned from the same pools, all else equal."""
    groups = receipts.groupby(["epoch", "stream"])
    ours = groups[["contribution", "missed"]].sum()
    all_ = groups[["total_contribution", "pool"]].first()
    before = ours["contribution"] / all_["total_contribution"].where(lambda total: total > 0, 1)
    more = all_["total_contribution"] + ours["missed"]
    after = (ours["contribution"] + ours["missed"]) / more.where(lambda total: total > 0, 1)
    return float((all_["pool"] * (after - before)).sum())


def _listed(texts: Iterator[str], most: int = 6) -> str:
    """Join the first texts, and the number of the others."""
    known = list(texts)
    more = [f"{len(known) - most} more"] if len(known) > most else []
    return ", ".join(known[:most] + more)


def _listed_in_sql(accounts: Sequence[bytes]) -> str:
    return "(" + ", ".join(f"X'{one.hex()}'" for one in accounts) + ")"


def _balance(network: View, accounts: Sequence[bytes], height: int) -> int:
    """Return the balance of accounts after a block."""
    now = height >= network.height
    state = network.state if now else snapshot.state_at(network.view.store, height)
    return sum(bank.account(state, codec.Address(one)).balance for one in accounts)


def _credited(
    network: View, accounts: Sequence[bytes], leaves: Leaves, before: int, after: int
) -> int:
    """Return the sum issued to accounts in the blocks after ``before``, up to ``after``."""
    index, state, amount = network.view.index, network.state, 0
    query = (
        "SELECT epoch, stream FROM (SELECT *, lag(height, 1, 0) OVER (PARTITION BY stream"
        " ORDER BY epoch) AS began FROM epochs) WHERE height > ? AND began < ?"
    )
    for issued in index.query(query, (before, after)):
        paid = leaves(*issued)
        amount += sum(leaf.amount for height, leaf in paid if before < height <= after)
    # An epoch that is being settled has no root yet.
    query = (
        "SELECT coalesce(sum(amount), 0) FROM receipts WHERE stream = ? AND epoch = ?"
        f" AND height > ? AND height <= ? AND payee IN {_listed_in_sql(accounts)}"
    )
    for (name,), stream in state.items(records.STREAMS):
        scope = state.get(records.SCOPES, stream.scope)
        if scope and state.get(records.ISSUANCES, name, scope.next_epoch) is None:
            ((paid,),) = index.query(query, (name, scope.next_epoch, before, after))
            amount += int(paid)
    return amount


def _movements(network: View, accounts: Sequence[bytes], before: int, after: int) -> pd.DataFrame:
    """Return transfers and fees of accounts, but not movements among them.

    A contract's gas deposit is no part of its balance: filling and refunding it move money at the
    other end only.
    """
    ours = _listed_in_sql(accounts)
    query = (
        "SELECT time, kind, sender, recipient, amount, note FROM ("
        "SELECT height, position, kind, sender, recipient, amount, '' AS note FROM transfers"
        f" WHERE coalesce(sender IN {ours} AND kind != 'purse', 0)"
        f" + coalesce(recipient IN {ours} AND kind != 'top up', 0) = 1"
        " UNION ALL SELECT height, position, 'fee', sender, NULL, fee, kind || ' '"
        " || lower(hex(substr(id, 1, 8))) || iif(code, ', refused', '') FROM transactions"
        f" WHERE fee > 0 AND sender IN {ours}"
        ") JOIN blocks USING (height) WHERE height > ? AND height <= ? ORDER BY height, position"
    )
    rows, names = [], network.home.names("account")
    moved = network.view.index.query(query, (before, after))
    for time, kind, sender, recipient, amount, note in moved:
        other, signed = (recipient, -amount) if sender in accounts else (sender, amount)
        named = "" if other is None else network.home.label(other, names)
        rows.append((time, kind, named, signed, note))
    return _table(MOVEMENTS, rows)


def _set_aside(
    network: View, accounts: Sequence[bytes], gateways: set[str], first: int, last: int
) -> pd.DataFrame:
    """Count the records set aside of some gateways, and of the gateways that accounts own now."""
    names = network.home.names("gateway")
    owned = {
        names[key]
        for (_, key), item in network.state.items(records.GATEWAYS, SCOPE)
        if isinstance(key, bytes) and key in names and item.owners[-1][1] in accounts
    }
    ids = gateways | owned
    ids.update(name for name, gateway in network.names().items() if gateway in ids)
    if network.damage or network.feed is None:
        return _table(REJECTED, [])
    rejects = network.feed.telemetry.rejected
    rejects = rejects.filter(pc.is_in(rejects["gateway"], pa.array(ids, pa.string()))).to_pandas()
    rejects = rejects[rejects["time"].between(first, last - 1)]  # undated ones are of no month
    rejects["first"] = rejects["file"] + ", line " + rejects["line"].astype(str)
    groups = rejects.groupby(["gateway", "reason"])
    return groups.agg(records=("line", "size"), first=("first", "first")).reset_index()
