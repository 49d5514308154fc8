"""Read access to a network: home, genesis, committed state, index, last header, telemetry.

Tables, receipts and statements take a :class:`View`, and need not know what else can be done with
a network.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Final, Self

from dii import codec, errors
from dii.application import actions, epochs, records
from dii.consensus import node, solo
from dii.consensus.engine import Engine
from dii.genesis import Genesis
from dii.ledger.block import Header
from dii.ledger.proof import Proof
from dii.ledger.reader import Reader
from dii.ledger.state import State, Table
from dii.minting import Issuance
from dii.network import simulated
from dii.network.home import CONSENSUS, SCOPE, STREAM, Home, numbered
from dii.network.telemetry import Feed
from dii.telemetry.names import owners
from dii.testing.faults import Faults
from dii.units import Currency

TELEMETRY: Final = "telemetry"


class View:
    """Home of a network with its chain, if it has one yet.

    Attributes
    ----------
    home
        Files, keys and names.
    """

    def __init__(self, home: Home, *, readonly: bool) -> None:
        self.home = home
        self._readonly = readonly
        self._chain: node.Node | Reader | None = None
        self._engine: Engine | None = None
        self._faults: Faults | None = None
        if self._is_recorded:
            self._readonly = True  # its validators ended with the process that made them
        try:
            if home.draft is None and home.genesis is None:
                raise errors.HomeMissing(folder=home.folder)
            if self.sealed:
                self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        """Open the chain of the sealed genesis."""
        folder, genesis = self.home.folder, self.genesis
        if self._readonly and folder is not None:
            self._chain = Reader(folder / node.CHAIN_FILE, folder / node.INDEX_FILE, genesis.hash)
            return
        self._chain = chain = node.Node(genesis, folder)
        if chain.store.base:
            return  # it began with a snapshot, and has no keys
        # In a laboratory every key follows from the seed, even if its name was erased.
        laboratory = self.home.seed is not None
        key = self.home.key("validator", create=laboratory)
        if self._faults is None or self.home.seed is None:
            self._engine = solo.Solo(chain, key, find=self.home.key_of)
        else:
            names = numbered("validator", len(genesis.validators))
            keys = [self.home.key(name, create=True) for name in names]
            self._engine = simulated.Simulated(
                chain, keys, self._faults, self.home.seed, self.recorded
            )
        for name in numbered("reporter", len(genesis.scopes[0].reporters)) if laboratory else ():
            self.home.key(name, create=True)
        if chain.header is not None and chain.header.app_hash != self.state.committed_root:
            self._engine.settle()  # an earlier session was interrupted while it settled

    def simulate(self, faults: Faults) -> None:
        """Have simulated validators make the chain of a network that begins."""
        self._faults = faults
        _ = self.recorded

    @property
    def _is_recorded(self) -> bool:
        """True if simulated validators made the chain of this home."""
        folder = self.home.folder
        return folder is not None and (folder / CONSENSUS).exists()

    @cached_property
    def recorded(self) -> sqlite3.Connection:
        """Record of what simulated validators did; empty without them."""
        begins, there = self._faults is not None, self._is_recorded
        folder = self.home.folder if begins or there else None
        return simulated.record(folder, readonly=there and not begins)

    def close(self) -> None:
        """Write buffered rows and release the files."""
        if self._chain is not None:
            self._chain.close()
        if "recorded" in self.__dict__:
            self.recorded.close()
        self.home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def genesis(self) -> Genesis:
        """The sealed genesis.

        Raises
        ------
        NotSealed
            No telemetry has been ingested yet.
        """
        if self.home.genesis is None:
            raise errors.NotSealed
        return self.home.genesis

    @property
    def sealed(self) -> bool:
        """True if there is a genesis, hence a chain."""
        return self.home.genesis is not None

    @property
    def currency(self) -> Currency:
        """The currency, for reading and writing amounts."""
        draft = None if self.sealed else self.home.draft
        return self.genesis.money if draft is None else Currency(**draft["currency"])

    @property
    def view(self) -> node.Node | Reader:
        """State, index and header to read from; NotSealed where there is no chain yet."""
        if self._chain is None:
            raise errors.NotSealed
        return self._chain

    def signer(self) -> Engine:
        """Return the engine that adds blocks.

        Raises
        ------
        Refused, NotSealed, HomeJoined
            Nothing can be added here; the error says why.
        """
        if self._engine is not None:
            return self._engine
        if self._readonly:
            raise errors.Refused(kind="transaction", message="this network was opened to look only")
        raise self.lacks("nothing can be added here")

    def lacks(self, what: str) -> errors.HomeJoined:
        """Return the error that a home which began with a snapshot lacks something."""
        return errors.HomeJoined(folder=self.home.folder, base=self.view.store.base, what=what)

    @property
    def state(self) -> State:
        """The committed state."""
        return self.view.state

    @property
    def parameters(self) -> records.Chain:
        """Prices and limits of the genesis, as governance may have changed them."""
        return self.state.require(records.CHAIN)

    def header(self) -> Header:
        """Return the last header, from whose hash everything can be checked.

        Raises
        ------
        NotSealed
            There is no block yet, as the first load was interrupted.
        """
        header = self.view.header
        if header is None:
            raise errors.NotSealed
        return header

    @property
    def height(self) -> int:
        """Height of the chain."""
        return self.view.height

    @property
    def scope(self) -> records.Scope:
        """The scope that is reported on from here: its reporters, metrics and usage."""
        return self.state.require(records.SCOPES, SCOPE)

    @property
    def settled(self) -> int:
        """Number of epochs that are closed."""
        return self.scope.next_epoch

    @cached_property
    def feed(self) -> Feed | None:
        """Source of the reporter's records, read on first use; None where nothing was loaded.

        Raises
        ------
        SourceUnreadable, HomeBroken
            The loaded telemetry cannot be read any more.
        """
        folder = self.home.folder
        return None if folder is None else Feed.open(folder / TELEMETRY)

    def names(self, epoch: int | None = None) -> Mapping[str, str]:
        """Return the resolved name of each gateway name that is an alias of another.

        Parameters
        ----------
        epoch
            Epoch in which names are resolved; by default the open epoch.
        """
        if self.damage or self.feed is None or not self.sealed or not self.home.can_hash:
            return {}
        pairs = self.feed.pairs(self.genesis.start_time, self.genesis.epoch_length)
        number, bound = self.settled if epoch is None else epoch, {}
        known = self._stands_since(number) if pairs.names else {}
        for name in pairs.names:
            hashed = self.home.hash("gateway", name)
            binding = self.state.get(records.GATEWAYS, SCOPE, hashed)
            first = known.get(hashed, number + 1)
            first = first if binding is None else min(first, binding.first)
            if first <= number:
                bound[name] = first
        found = pairs.resolve(bound, number)
        free = [name for name in sorted(pairs.names) if found.get(name, name) not in bound]
        for name in self._kept(free) if number >= self.settled else ():
            if found.get(name, name) not in bound:  # of several such names the first is kept
                bound[name] = number
                found = pairs.resolve(bound, number)
        return found

    def _kept(self, names: Sequence[str]) -> list[str]:
        """Return the names whose hashes contracts keep; these are not resolved to others.

        Only names of gateways without an owner: no contract can part a name from a bound gateway.
        The name under which the epoch before was settled comes first, so that a contract of
        somebody else takes no gateway away from one that names it already.
        """
        hashes: dict[bytes, str] = {self.home.hash("gateway", name): name for name in names}
        size, found = len(next(iter(hashes), b"")), set[bytes]()
        contracts = self.state.items(records.CONTRACTS) if names else ()
        for address in (address for (address,), one in contracts if one.scope == SCOPE):
            for (_, key), value in self.state.items(records.STORAGE, address):
                assert isinstance(key, bytes)
                cell = key + value
                cut = (cell[at : at + size] for at in range(len(cell) - size + 1))
                found.update(hashes.keys() & cut)
        before = self._paid(self.settled - 1) if len(found) > 1 else ()
        return [hashes[one] for one in sorted(found, key=lambda h: (h not in before, hashes[h]))]

    def _stands_since(self, epoch: int) -> dict[bytes, int]:
        """Return since when hashes without a binding are not resolved to others in an epoch.

        Denied hashes do, since a gateway without an owner could escape a denial by a further name;
        and hashes with a receipt in the epoch, whatever registries were loaded later.
        """
        since: dict[bytes, int] = {}
        if epoch < self.settled:
            since = dict.fromkeys(self._paid(epoch), epoch)
        for _, proposal in self.state.items(records.PROPOSALS):
            action = proposal.action
            decided = proposal.outcome in {"passed", "enacted"}
            if decided and isinstance(action, actions.DenyGateway) and action.scope == SCOPE:
                first = epochs.first_from(self.parameters, proposal.acts)
                since[action.gateway] = min(first, since.get(action.gateway, first))
        return since

    def _paid(self, epoch: int) -> set[bytes]:
        """Return the hashes that have a receipt of a settled epoch."""
        streams = "SELECT stream FROM epochs WHERE epoch = ?1 AND scope = ?2"
        query = f"SELECT gateway FROM receipts WHERE epoch = ?1 AND stream IN ({streams})"
        return {hashed for (hashed,) in self.view.index.query(query, (epoch, SCOPE))}

    def unbound(self, epoch: int | None = None) -> dict[str, codec.Address]:
        """Return the accounts of gateways that have an operator and no binding yet.

        They are bound when the epoch is reported, by default the open epoch.
        """
        number = self.settled if epoch is None else epoch
        if self.damage or self.feed is None or not self.home.can_hash or number < self.settled:
            return {}
        named = owners(self.feed.operators(self.genesis.span(number)[1]), self.names(number))
        address = cache(self.home.operator_address)
        return {one: address(name) for one, name in named.items() if self.binding(one) is None}

    def binding(self, gateway: str) -> records.Binding | None:
        """Return the owners of a gateway, given by its resolved name."""
        return self.state.get(records.GATEWAYS, SCOPE, self.home.hash("gateway", gateway))

    def gateway(self, who: str, epoch: int | None = None) -> codec.GatewayHash:
        """Return the hash of a gateway, given by any of its names or its hash.

        Raises
        ------
        UnknownName
            No gateway of that name was loaded here.
        """
        hashed, names = self.home.gateway(who), self.names(epoch)
        name = self.home.names("gateway").get(hashed, "") if names else ""
        other = names.get(name)
        return codec.GatewayHash(self.home.hash("gateway", other)) if other else hashed

    @property
    def damage(self) -> str:
        """Reason why the telemetry cannot be read; empty if it can, or if there is none."""
        try:
            _ = self.feed
        except (errors.SourceUnreadable, errors.HomeBroken) as error:
            return f"cannot be read: {error}"
        return ""

    @property
    def lag(self) -> int:
        """Number of durable blocks that are not shown yet, while another process writes."""
        return self._chain.lag if isinstance(self._chain, Reader) else 0

    @property
    def last_epoch(self) -> int:
        """Epoch of the last record; -1 where there is none."""
        span = self.feed.span if self.feed else None
        return -1 if span is None else self._epoch_at(span[1])

    @property
    def reaches(self) -> int | None:
        """Time that the records reach; None where none have been loaded."""
        return self.feed.reaches if self.feed else None

    @property
    def complete_epochs(self) -> int:
        """Number of epochs that end at or before the time that the records reach."""
        return 0 if self.reaches is None else max(0, self._epoch_at(self.reaches))

    def _epoch_at(self, time: int) -> int:
        return (time - self.genesis.start_time) // self.genesis.epoch_length

    def proof_of(self, table: Table[Any], *parts: bytes | int | str) -> Proof:
        """Return the proof of a state record, or of its absence, against the last header."""
        return Proof.of(self.header(), self.state, table.key(*parts))

    def issued(self, epoch: int, stream: str = STREAM) -> Issuance:
        """Return the common part of a stream's receipts of an epoch.

        Raises
        ------
        NotYetSettled, UnknownStream
            The epoch has not been settled, or there is no stream of this name.
        """
        found = self.state.get(records.ISSUANCES, stream, epoch) if epoch >= 0 else None
        if found is None:
            issued = self.state.items(records.ISSUANCES, stream)
            if self.state.get(records.STREAMS, stream) is None and not any(issued):
                known = ", ".join(str(name) for (name,), _ in self.state.items(records.STREAMS))
                raise errors.UnknownStream(name=stream, known=known)
            raise errors.NotYetSettled(epoch=epoch, settled=self.settled)
        return found
