"""The state machine: transactions in, state roots out, the same under every engine.

The verbs are ABCI 2.0's. The application does no I/O and reads no clock: time, height and
proposer come with the block. ``finalize_block`` is total (every sequence of bytes has a result)
and may be repeated; nothing is lasting until ``commit`` returns the diff, which the engine makes
durable.

A block records a code for each transaction. Undecodable bytes, bad signatures, nonces out of
order, expiry and uncovered fees change nothing; any other failure is undone, pays its gas and
takes its nonce. Only the duties of reporters and validators are free, if they succeed within their
allowance. An account with such a duty need not have money, so a failed duty may go unpaid: it takes
its nonce and is counted, and after ``MAX_UNPAID`` of them in an epoch duties cost like anything
else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from dii import codec, crypto, errors
from dii.application import bank, epochs, gas, governance, handlers, messages, records, settling
from dii.application.context import BY_ITSELF, Context, duty_of
from dii.crypto import batch
from dii.genesis import TREASURY, Genesis
from dii.ledger import transaction
from dii.ledger.state import Diff, State
from dii.ledger.tree import TreeProof
from dii.units import PPM, SECOND

MAX_REMEMBERED: Final = 1 << 27
"""Bytes of checked transactions remembered between check, proposal and execution."""

MAX_UNPAID: Final = 16
"""Failed duties of an account in an epoch that may go unpaid."""
ALLOWANCE: Final = (
    "one open proposal, the first vote on each, one report an epoch and its new bindings are free"
)
"""Explanation in the error of a duty whose account has no money."""


class TxResult(NamedTuple):
    """Result of executing one transaction.

    Attributes
    ----------
    code
        0 for success, else the error's code.
    detail
        The error's message, or the refused parts of a message that succeeded; not hashed.
    gas, fee
        Gas used, and the fee paid for it.
    numbers
        Integers and texts that the error's message names; no part of a block.
    """

    code: int
    detail: str = ""
    gas: int = 0
    fee: int = 0
    numbers: Mapping[str, int | str] = MappingProxyType({})

    @classmethod
    def of(cls, error: errors.TransactionError, more: str = "") -> TxResult:
        """Return the result of a failure, without the frames that the error itself holds."""
        plain = {name: one for name, one in error.numbers.items() if isinstance(one, int | str)}
        return cls(error.code, f"{error}{more}", numbers=plain)


@dataclass(slots=True)
class BlockResult:
    """Result of a block: results of its transactions in order, root, and rows to index."""

    results: list[TxResult]
    app_hash: codec.Root
    changed: bool
    rows: dict[str, list[tuple[object, ...]]]
    validator_updates: tuple[tuple[bytes, int], ...] = ()


@dataclass(slots=True)
class _Known:
    """A decoded transaction whose signature holds.

    ``gas`` is the gas that it reserves: its limit, or less if its kind cannot use so much.
    """

    tx: transaction.Transaction
    message: messages.Message
    handler: handlers.Handler
    gas: int


@dataclass(slots=True)
class _Judged:
    """Decoded transactions whose signatures are being verified, and a function for the verdicts."""

    decoded: list[_Known]
    verdicts: Callable[[], list[bool]]


@dataclass(slots=True)
class _Waiting:
    """Waiting transactions of one account: number, fees, chunks, and chunks that they announce."""

    count: int = 0
    fees: int = 0
    chunks: int = 0
    announced: int = 0


@dataclass(slots=True)
class _Sender:
    """A sender in a block that is being chosen: next nonce, money, bytes and gas taken so far."""

    nonce: int
    spare: int
    bytes: int = 0
    gas: int = 0


class Application:
    """One chain's state and rules.

    Parameters
    ----------
    genesis
        The network's genesis.
    height, state
        Height and state after a block, as stored or downloaded, to go on from there; without a
        state the chain begins with its genesis.

    Attributes
    ----------
    state
        The committed state, with the changes of a block in progress.
    height
        Height of the last commit.
    genesis_diff
        The diff of height 0. Empty if the chain went on from a state.
    """

    def __init__(self, genesis: Genesis, height: int = 0, state: State | None = None) -> None:
        self.genesis, self.height = genesis, height
        self.genesis_diff: Diff = ()
        if state is None:
            self.init_chain()
        else:
            self.state = state
        self._known: dict[bytes, _Known | TxResult] = {}
        self._remembered = 0
        self._judged: dict[bytes, _Judged] = {}
        self._waiting: dict[codec.Address, _Waiting] = defaultdict(_Waiting)
        self._epoch: int | None = None  # of the last block; None before the first block
        self._finalized: tuple[int, int, list[bytes]] | None = None

    # --- consensus ----------------------------------------------------------------------------

    def info(self) -> tuple[int, codec.Root]:
        """Return the height and state root of the last commit."""
        return self.height, self.state.committed_root

    def init_chain(self) -> codec.Root:
        """Write the genesis into the empty state; may be repeated. Returns the state root."""
        self.state = State()
        write_genesis(self.state, self.genesis)
        self.genesis_diff = self.state.commit()
        return self.state.committed_root

    def anticipate(self, wires: Sequence[bytes]) -> None:
        """Begin to check transactions that will come, in processes beside this one.

        May be called before any other verb, with its transactions, to save time.
        """
        known, judged = self._known, self._judged
        if self._remembered > MAX_REMEMBERED:
            known.clear()
            judged.clear()
            self._remembered = 0
        decoded = []
        for wire in dict.fromkeys(new for new in wires if new not in known and new not in judged):
            self._remembered += _weight(wire)
            try:
                tx = transaction.decode(wire)
                message = messages.from_value(tx.message)
                most = handlers.most_gas(message, len(wire))
                reserved = tx.gas_limit if most is None else min(tx.gas_limit, most)
                decoded.append(_Known(tx, message, handlers.HANDLERS[type(message)], reserved))
            except errors.TransactionError as error:
                known[wire] = TxResult.of(error)
        if decoded:
            chain = self.genesis.hash
            items = [transaction.signed_item(chain, item.tx) for item in decoded]
            begun = _Judged(decoded, batch.start_verifying(items))
            judged.update((item.tx.wire, begun) for item in decoded)

    def check_tx(self, wire: bytes) -> TxResult:
        """Check whether a transaction may wait for a block.

        Admits an account's next nonces only, up to the limit of pending ones, and only if the
        balance covers the fees of all of them. A duty needs no balance, unless too many duties
        have failed, and the announced chunks of a report do not count towards the limit.
        """
        try:
            known = self._verified([wire])[0]
            if isinstance(known, TxResult):
                return known
            fee = self._admit(known)
        except errors.TransactionError as error:
            return TxResult.of(error)
        waiting, message = self._waiting[known.tx.sender], known.message
        waiting.count += 1
        waiting.fees += fee
        waiting.chunks += isinstance(message, messages.ReportChunk)
        if isinstance(message, messages.ReportManifest):
            waiting.announced += len(message.chunks) + len(message.usage_chunks)
        return TxResult(0)

    def prepare_proposal(self, wires: Sequence[bytes], max_bytes: int, time: int) -> list[bytes]:
        """Choose transactions for a block of a given time.

        Takes them in the given order, at first no more of each sender than a quarter of the block's
        bytes and gas; the rest of the block is filled up with the others. Leaves out transactions
        for which ``process_proposal`` would refuse the block, and those that do not fit.
        """
        return self._chosen(wires, max_bytes, time, (4, 1))

    def process_proposal(self, wires: Sequence[bytes], time: int) -> bool:
        """Tell whether a proposed block is acceptable: signatures, nonces, fees, bytes and gas."""
        chosen = self._chosen(wires, self.state.require(records.CHAIN).block_bytes, time, (1,))
        return len(chosen) == len(wires)

    def _chosen(
        self, wires: Sequence[bytes], max_bytes: int, time: int, shares: tuple[int, ...]
    ) -> list[bytes]:
        """Choose in rounds, one for each share n: no sender takes more than 1/n of the block.

        A transaction that would do nothing and cost nothing could come back in each block, so none
        is chosen: the sender must be able to pay for it if the earlier ones succeed, or it must be
        a duty that may go unpaid.
        """
        chain, height = self.state.require(records.CHAIN), self.height + 1
        room = most_bytes = min(max_bytes, chain.block_bytes)
        gas_left, epoch = chain.block_gas, epochs.at(chain, time)
        senders: dict[codec.Address, _Sender] = {}
        chosen: list[bytes] = []
        waiting = [known for known in self._verified(wires) if isinstance(known, _Known)]
        for share in shares:
            postponed: list[_Known] = []
            for known in waiting:
                tx, size, reserved = known.tx, len(known.tx.wire), known.gas
                sender = senders.get(tx.sender)
                if sender is None:
                    account = bank.account(self.state, tx.sender)
                    sender = senders[tx.sender] = _Sender(account.nonce, account.balance)
                if (
                    tx.nonce != sender.nonce
                    or size > min(room, most_bytes // share - sender.bytes)
                    or reserved > min(gas_left, chain.block_gas // share - sender.gas)
                ):
                    postponed.append(known)
                    continue
                fee = reserved * chain.gas_price
                unpaid = fee > sender.spare and not self._on_duty(known, epoch)
                if unpaid or height > tx.valid_until or tx.gas_limit < gas.intrinsic(size):
                    continue
                sender.nonce += 1
                outlay = known.handler.outlay(known.message)
                sender.spare = max(0, sender.spare - fee - outlay)
                sender.bytes += size
                sender.gas += reserved
                room -= size
                gas_left -= reserved
                chosen.append(tx.wire)
            waiting = postponed
        return chosen

    def estimate(self, wire: bytes, time: int) -> int:
        """Execute a transaction as in the next block, undo it, and return the gas that it used.

        Raises
        ------
        TransactionError
            No block can contain it.
        """
        known = self._verified([wire])[0]
        if isinstance(known, TxResult):
            return 0
        mark = self.state.mark()
        try:
            context = Context(self.state, self.state.require(records.CHAIN), self.height + 1, time)
            return self._execute(context, 0, known).gas
        finally:
            self.state.revert(mark)

    def finalize_block(
        self,
        height: int,
        time: int,
        wires: Sequence[bytes],
        proposer: bytes,  # noqa: ARG002 - the verb's; rewards will ask for it
        misbehaviour: Sequence[tuple[bytes, int]] = (),
    ) -> BlockResult:
        """Execute a decided block on top of the last commit.

        Parameters
        ----------
        height, time, proposer
            As decided; time in microseconds since 1970.
        wires
            The block's transactions, in order.
        misbehaviour
            Validators against which the block has evidence.

        Raises
        ------
        InvariantBroken
            Money would appear or vanish: a defect, fatal to the node.
        UpgradeNeeded
            The chain has decided on something that this release lacks; fatal, too.
        """
        self.state.revert(0)
        chain = self.state.require(records.CHAIN)
        if chain.gas_schedule not in gas.VERSIONS:
            raise errors.UpgradeNeeded(height=height, what=f"gas schedule {chain.gas_schedule}")
        context = Context(self.state, chain, height, time)
        checked = self._verified(wires)
        results = [self._deliver(context, *numbered) for numbered in enumerate(checked)]
        context.position = BY_ITSELF
        fees = sum(result.fee for result in results)
        if fees:
            bank.credit(self.state, TREASURY, fees)
        updates = governance.enact(context, misbehaviour)
        try:
            settling.settle(context)
        except errors.UnknownVersion as error:  # an older release than the one that enacted it
            raise errors.UpgradeNeeded(height=height, what=error.numbers["spec"]) from error
        self._check_conservation(height)
        rows: dict[str, list[tuple[object, ...]]] = defaultdict(list)
        for table, row in context.rows:
            rows[table].append(row)
        app_hash = self.state.root()
        self._finalized = height, context.epoch, list(wires)
        changed = app_hash != self.state.committed_root
        return BlockResult(results, app_hash, changed, dict(rows), updates)

    def commit(self) -> Diff:
        """Make the finalized block the state to go on from; return what changed."""
        assert self._finalized is not None
        self.height, self._epoch, wires = self._finalized
        self._finalized = None
        for wire in wires:
            if self._known.pop(wire, None) is not None:
                self._remembered -= _weight(wire)
        self._waiting.clear()  # engines check again what still waits (ABCI's recheck)
        return self.state.commit()

    def query(self, key: bytes) -> tuple[bytes | None, TreeProof]:
        """Return the committed value of a state key, and the proof of it or of its absence."""
        return self.state.get_bytes(key), self.state.prove_key(key)

    # --- admission ----------------------------------------------------------------------------

    def _verified(self, wires: Sequence[bytes]) -> list[_Known | TxResult]:
        """Decode transactions and verify signatures, on all cores; remember the verdicts."""
        self.anticipate(wires)
        for wire in wires if self._judged else ():
            judged = self._judged.get(wire)
            for item, good in zip(judged.decoded, judged.verdicts()) if judged else ():
                self._judged.pop(item.tx.wire, None)
                verdict: _Known | TxResult = item
                if not good:
                    sender = crypto.format_address(item.tx.sender)
                    verdict = TxResult.of(errors.BadSignature(sender=sender))
                self._known[item.tx.wire] = verdict
        return [self._known[wire] for wire in wires]

    def _admit(self, known: _Known) -> int:
        """Apply the rules for waiting, see :meth:`check_tx`; return the fee to be covered."""
        chain, tx = self.state.require(records.CHAIN), known.tx
        account = bank.account(self.state, tx.sender)
        queue = self._waiting.get(tx.sender, _Waiting())
        self._check(known, account.nonce + queue.count, self.height + 1)
        duty = self._on_duty(known, self._epoch)
        if queue.count >= chain.pending and not (duty and self._is_awaited(known, queue)):
            sender = crypto.format_address(tx.sender)
            raise errors.TooManyPending(sender=sender, pending=queue.count)
        fee = 0 if duty else self._check_fee(chain, account, known, queue.fees)
        if known.gas > chain.block_gas:
            raise errors.GasLimitTooHigh(limit=known.gas, block=chain.block_gas)
        return fee

    def _on_duty(self, known: _Known, epoch: int | None) -> bool:
        """Tell whether it is a duty of its sender, in an epoch that may be unknown (None)."""
        message: Any = known.message
        sender, duty = known.tx.sender, known.handler.duty
        if duty is None:
            return False
        if duty == "validator":
            entitled = self.state.get(records.VALIDATORS, known.tx.public_key) is not None
        else:
            scope = self.state.get(records.SCOPES, message.scope)
            entitled = scope is not None and sender in scope.reporters
        if not entitled or epoch is None:
            return entitled
        return duty_of(self.state, sender, epoch).failures < MAX_UNPAID

    def _is_awaited(self, known: _Known, queue: _Waiting) -> bool:
        """Tell whether it is a chunk that a manifest, in the state or waiting, has announced."""
        message = known.message
        if not isinstance(message, messages.ReportChunk):
            return False
        key = message.scope, message.epoch, known.tx.sender
        report = self.state.get(records.REPORTS, *key)
        progress = self.state.get(records.PROGRESS, *key)
        awaited = report.parts - progress.received if report and progress else 0
        return queue.chunks < queue.announced + awaited

    def _check(self, known: _Known, nonce: int, height: int) -> None:
        """Refuse another nonce than this, and what has expired or has too little gas."""
        tx = known.tx
        if tx.nonce != nonce:
            sender = crypto.format_address(tx.sender)
            raise errors.NonceMismatch(sender=sender, got=tx.nonce, expected=nonce)
        if height > tx.valid_until:
            raise errors.Expired(until=tx.valid_until, height=height)
        least = gas.intrinsic(len(tx.wire))
        if tx.gas_limit < least:
            raise errors.OutOfGas(needed=least, limit=tx.gas_limit)

    def _check_fee(
        self, chain: records.Chain, account: records.Account, known: _Known, waiting: int = 0
    ) -> int:
        """Return the fee; FeeUncovered if the balance lacks it besides the waiting fees."""
        fee = known.gas * chain.gas_price
        if account.balance < fee + waiting:
            raise _uncovered(chain, known, account.balance, waiting)
        return fee

    # --- execution ----------------------------------------------------------------------------

    def _deliver(self, context: Context, position: int, known: _Known | TxResult) -> TxResult:
        if isinstance(known, TxResult):
            return known
        try:
            result = self._execute(context, position, known)
        except errors.TransactionError as error:  # before the nonce was taken: a no-op
            result = TxResult.of(error)
        tx, kind = known.tx, type(known.message).__name__
        context.emit(
            "transactions", position, tx.id, tx.sender, tx.nonce, kind, result.code, result.gas,
            result.fee, result.detail,
        )  # fmt: skip
        return result

    def _execute(self, context: Context, position: int, known: _Known) -> TxResult:
        """Carry out one transaction; raises only if it changes nothing at all."""
        state, chain, tx = self.state, context.chain, known.tx
        account = bank.account(state, tx.sender)
        self._check(known, account.nonce, context.height)
        # A duty is tried before anything is paid: it is free if it succeeds within its allowance.
        epoch = context.epoch
        duty = self._on_duty(known, epoch)
        held = 0 if duty else self._check_fee(chain, account, known)
        meter = context.meter = gas.Meter(known.gas)
        meter.charge(gas.intrinsic(len(tx.wire)))
        context.sender, context.public_key, context.position = tx.sender, tx.public_key, position
        context.note = ""
        mark = context.mark()
        if held:
            state.put(
                records.ACCOUNTS, records.Account(account.balance - held, tx.nonce), tx.sender
            )
        outcome = TxResult(0)
        free = False
        try:
            free = known.handler.handle(context, known.message)
            if context.note:
                outcome = TxResult(0, context.note)
            balance = bank.account(state, tx.sender).balance + held
        except errors.TransactionError as error:
            outcome = TxResult.of(error)
            context.revert(mark)
            balance = account.balance
        # At least half of the reserved gas is paid for, used or not.
        fee = 0 if free else max(meter.used, known.gas // 2) * chain.gas_price
        if balance < fee:  # only a duty's: everything else has been covered
            context.revert(mark)
            if not outcome.code:
                outcome = TxResult.of(_uncovered(chain, known, balance), f"; {ALLOWANCE}")
            used = duty_of(state, tx.sender, epoch)
            state.put(records.DUTIES, replace(used, failures=used.failures + 1), tx.sender)
            balance, fee = account.balance, 0
        state.put(records.ACCOUNTS, records.Account(balance - fee, tx.nonce + 1), tx.sender)
        return outcome._replace(gas=meter.used, fee=fee)

    def _check_conservation(self, height: int) -> None:
        """Compare minted - burned with the sum of all changes of balances, purses and carried dust.

        Counts the changed records themselves, not the amounts that the handlers moved.
        """
        held, made = (
            sum(
                getattr(after, name, 0) - getattr(before, name, 0)
                for table, name in columns
                for before, after in self.state.touched(table)
            )
            for columns in (records.MONEY, ((records.SUPPLY, "left"),))
        )
        if held != made:
            message = f"{made} minted less burned, {held} more held"
            raise errors.InvariantBroken(height=height, message=message)


def _uncovered(
    chain: records.Chain, known: _Known, balance: int, waiting: int = 0
) -> errors.FeeUncovered:
    return errors.FeeUncovered(
        sender=crypto.format_address(known.tx.sender),
        balance=balance - waiting,
        beyond=" beyond the fees of its waiting transactions" if waiting else "",
        gas_limit=known.gas,
        gas_price=chain.gas_price,
        fee=known.gas * chain.gas_price,
    )


def _weight(wire: bytes) -> int:
    """Return about how many bytes a decoded transaction takes in memory, or more."""
    return 4 * len(wire) + 2048


def write_genesis(state: State, genesis: Genesis) -> None:
    """Write the records that a genesis describes into an empty state."""
    rules = genesis.governance
    chain = records.Chain(
        genesis=genesis.hash,
        start=genesis.start_time,
        epoch_length=genesis.epoch_length,
        report_window=genesis.report_window_seconds * SECOND,
        gas_price=genesis.gas_price,
        gas_schedule=min(gas.VERSIONS),
        max_mint_per_epoch=genesis.max_mint_per_epoch,
        max_treasury_per_epoch=genesis.max_mint_per_epoch * rules.max_treasury_ppm // PPM,
        governance_delay=rules.delay_seconds * SECOND,
        voting_period=rules.voting_seconds * SECOND,
        **genesis.limits.model_dump(),
    )
    state.put(records.CHAIN, chain)
    money, generated = genesis.money, genesis.generated
    origin = records.Origin(
        genesis.name, money.symbol, money.decimals, genesis.laboratory, generated
    )
    state.put(records.ORIGIN, origin)
    for holder in genesis.accounts:
        account = records.Account(holder.balance, 0)
        state.put(records.ACCOUNTS, account, crypto.parse_address(holder.address))
    supply = records.Supply(sum(holder.balance for holder in genesis.accounts), 0)
    state.put(records.SUPPLY, supply)
    for validator in genesis.validators:
        state.put(records.VALIDATORS, validator.power, bytes.fromhex(validator.public_key))
    for scope in genesis.scopes:
        reporters = tuple(map(crypto.parse_address, scope.reporters))
        record = records.Scope(reporters, tuple(scope.metrics), tuple(scope.usage), 0)
        state.put(records.SCOPES, record, scope.name)
    for position, stream in enumerate(genesis.streams):
        rule, policy = stream.rule.spec, stream.policy.spec
        made = records.Stream(position, stream.scope, rule, policy, stream.rest, 0)
        state.put(records.STREAMS, made, stream.name)


def total_money(state: State) -> int:
    """Return the sum of all balances, purses and carried dust; equals minted - burned, always."""
    return sum(
        getattr(record, name) for table, name in records.MONEY for _, record in state.items(table)
    )
