"""Resolution of gateway names.

A gateway has several names: the id that its network gives it (``network:id``), and EUIs of its
hardware. A record belongs to the name that it states, and the owner of a gateway on the chain
belongs to the hash of one name. Which name stands for the gateway is resolved for each epoch, from
the pairs of id and EUI that records up to that epoch state and from the names that are bound in it:

1. A record with an id belongs to the id if the id is bound. Else to the EUI that most of the id's
   records state in the earliest epoch in which they state any, if that EUI is bound and no other id
   states it as often in that epoch. Else to the id.
2. A record with an EUI only belongs to the EUI if the EUI is bound. Else to the id that states it
   most often in this epoch, or in the latest epoch before it with any such id, resolved by 1. Else
   to the EUI.

So a bound name is never resolved to another name, and a name that becomes known later, new hardware
or a false pair takes nothing from it. Ties are decided by the smaller text. A registry states pairs
without a time: they count where no record states a pair, and the name bound first comes first, so
that an entry added later takes no gateway.

Later records never change an earlier epoch. So an epoch can be computed again, and a reporter that
loads everything at once reports the same as a reporter that loads day by day.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from dii.telemetry.tables import with_column

if TYPE_CHECKING:
    from dii.telemetry.metrics.sites import Place

T = TypeVar("T")
Pair = tuple[str, str, int, int]
"""Id, EUI, epoch, and the number of records of that epoch that state both."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of id and EUI that a telemetry states.

    Attributes
    ----------
    first
        By id: the earliest epoch in which it states an EUI, the EUI that it states most often
        there, and whether no other id states that EUI as often.
    stating
        By EUI: epochs in order, each with the id that states the EUI most often.
    listed
        Pairs that registries state, in order.
    """

    first: Mapping[str, tuple[int, str, bool]]
    stating: Mapping[str, list[tuple[int, str]]]
    listed: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[Pair], listed: Iterable[tuple[str, str]] = ()) -> Self:
        """Return the summary of pairs and of entries of registries, in any order."""
        first: dict[str, tuple[int, str, int]] = {}
        stating = defaultdict[str, list[tuple[int, str]]](list)
        counts = defaultdict[tuple[int, str], list[tuple[int, str]]](list)
        for epoch, less, name, eui in sorted((epoch, -n, i, eui) for i, eui, epoch, n in pairs):
            first.setdefault(name, (epoch, eui, -less))
            counts[epoch, eui].append((-less, name))
            if not stating[eui] or stating[eui][-1][0] < epoch:
                stating[eui].append((epoch, name))
        sole = dict[str, tuple[int, str, bool]]()
        for name, (epoch, eui, most) in first.items():
            two = counts[epoch, eui][:2]
            sole[name] = epoch, eui, all(n < most or other == name for n, other in two)
        return cls(sole, dict(stating), tuple(sorted(set(listed))))

    def resolve(self, bound: Mapping[str, int], epoch: int) -> dict[str, str]:
        """Return the resolved name of each name that is not resolved to itself in an epoch.

        Parameters
        ----------
        bound
            Names that are bound in the epoch, with the epoch in which each was bound.
        epoch
            Number of the epoch; later pairs do not count.
        """
        after = epoch + 1
        euis, ids = dict[str, str](), dict[str, str]()
        for name, eui in self.listed:
            ids[eui] = min(
                ids.get(eui, name), name, key=lambda text: (bound.get(text, after), text)
            )
            if eui in bound:
                euis[name] = min(euis.get(name, eui), eui, key=lambda text: (bound[text], text))

        def of_id(name: str) -> str:
            at, eui, sole = self.first.get(name, (after, "", False))
            if name in bound:
                return name
            if at > epoch:
                return euis.get(name, name)
            return eui if sole and eui in bound else name

        found = {name: of_id(name) for name, (at, _, _) in self.first.items() if at <= epoch}
        found |= {name: of_id(name) for name, _ in self.listed}
        for eui in self.euis.difference(bound, found):
            stated = self.stating.get(eui, [])
            before = bisect_left(stated, (after, ""))
            name = stated[before - 1][1] if before else ids.get(eui, eui)
            found[eui] = name if name == eui else of_id(name)
        return {name: other for name, other in found.items() if name != other}

    @property
    def euis(self) -> set[str]:
        """All EUIs that are stated beside an id."""
        return {*self.stating, *(eui for _, eui in self.listed)}

    @property
    def names(self) -> set[str]:
        """All names in pairs."""
        return {*self.first, *(name for name, _ in self.listed), *self.euis}


def ambiguous(tables: Iterable[pa.Table], entries: pa.Table) -> list[str]:
    """Return a sentence for each id of several EUIs or operators, or EUI of several ids."""
    euis = [pair for table in (*tables, entries) for pair in _distinct(table, "eui")]
    stated = {
        "states the EUIs": euis,
        "is stated by the ids": [(eui, name) for name, eui in euis],
        "is given to the operators": _distinct(entries, "operator"),
    }
    return [
        f"{name} {verb} {', '.join(others)}"
        for verb, pairs in stated.items()
        for name, group in groupby(sorted(set(pairs)), itemgetter(0))
        if len(others := [other for _, other in group]) > 1
    ]


def _distinct(table: pa.Table, beside: str) -> Iterable[tuple[str, str]]:
    """Return the distinct pairs of a gateway and a value of another column."""
    both = table.filter(pc.field(beside).is_valid()).group_by(["gateway", beside]).aggregate([])
    return zip(both["gateway"].to_pylist(), both[beside].to_pylist())


def pairs_of(tables: Iterable[pa.Table], entries: pa.Table, start: int, length: int) -> Pairs:
    """Return the pairs that receptions, statuses and entries of registries state.

    Parameters
    ----------
    tables
        Receptions and statuses.
    entries
        Rows of gateways as they were stated.
    start, length
        Start and length of the epochs, microseconds.
    """
    names = ["gateway", "eui", "time"]
    both = pa.concat_tables([table.select(names) for table in tables], promote_options="default")
    both = both.filter(pc.field("eui").is_valid())
    epoch = (both["time"].to_numpy() - start) // length
    stated = pa.table({"gateway": both["gateway"], "eui": both["eui"], "epoch": epoch})
    counts = stated.group_by(stated.column_names).aggregate([([], "count_all")])
    rows = zip(*(column.to_pylist() for column in counts.columns))
    return Pairs.of(rows, _distinct(entries, "eui"))


def owners(operators: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    """Return the operator (or another stated value) of each resolved name.

    A value stated for the name itself comes first, else that of the smallest of its other names.
    """
    found = dict[str, T]()
    for name in sorted(operators):
        gateway = names.get(name, name)
        if name == gateway or gateway not in found:
            found[gateway] = operators[name]
    return found


def places_of(gateways: pa.Table, names: Mapping[str, str]) -> dict[str, Place]:
    """Return the place of each resolved name, chosen as in ``owners``."""
    columns = (gateways[name].to_pylist() for name in ("gateway", "latitude", "longitude"))
    return owners({name: (n, e) for name, n, e in zip(*columns) if n is not None}, names)


def renamed(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """Return a table in which the names of gateways are resolved."""
    encoded = table["gateway"].combine_chunks().dictionary_encode()
    old = encoded.dictionary.to_pylist()
    if names.keys().isdisjoint(old):
        return table
    new = pa.array([names.get(name, name) for name in old], pa.string())
    return with_column(table, "gateway", new.take(encoded.indices))
