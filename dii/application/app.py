"""The state machine: transactions in, state roots out, the same under every engine.

The verbs are ABCI 2.0's. The application does no I/O and reads no clock: time, height and
proposer come with the block. ``finalize_block`` is total (every sequence of bytes has a result)
and may be repeated; nothing is lasting until ``commit`` hands out the diff, which the engine
makes durable.

What a block records of a transaction is a code. Undecodable bytes, bad signatures, nonces out of
order, expiry and uncovered fees change nothing; any other failure is undone, pays its gas and
takes its nonce. Free are only the duties of reporters and validators that succeed within their
allowance. Who has such a duty need not have money, so one that fails may go unpaid: it takes its
nonce and is counted, and after ``MAX_UNPAID`` of them in an epoch duties are like anything else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from dii import crypto
from dii.application import bank, gas
from dii.application.context import Context, duty_of, epoch_at
from dii.application.governance import enact
from dii.application.handlers import DUTY, HANDLERS, most_gas
from dii.application.messages import (
    Burn,
    Call,
    Deploy,
    Message,
    Propose,
    ReportChunk,
    ReportManifest,
    TopUp,
    Transfer,
    Vote,
    from_value,
)
from dii.application.programs import Loaded
from dii.application.records import (
    ACCOUNTS,
    CHAIN,
    CONTRACTS,
    DUTIES,
    ORIGIN,
    PROGRESS,
    REPORTS,
    SCOPES,
    STREAMS,
    SUPPLY,
    VALIDATORS,
    Account,
    Chain,
    Origin,
    Scope,
    Stream,
    Supply,
)
from dii.application.settling import settle
from dii.crypto import format_address, parse_address
from dii.errors import (
    BadSignature,
    Expired,
    FeeUncovered,
    InvariantBroken,
    NeverFits,
    NonceMismatch,
    OutOfGas,
    TooManyPending,
    TransactionError,
    UnknownVersion,
    UpgradeNeeded,
)
from dii.genesis import TREASURY, Genesis
from dii.ledger import transaction
from dii.ledger.state import Diff, State
from dii.ledger.transaction import Transaction
from dii.ledger.tree import TreeProof
from dii.units import PPM, SECOND

MAX_REMEMBERED: Final = 1 << 27
"""Bytes of checked transactions remembered between check, proposal and execution."""

MAX_UNPAID: Final = 16
"""Failed duties of an account in an epoch that nobody need pay for."""


ALLOWANCE: Final = (
    "free are one open proposal, the first vote on each, one report an epoch and its new bindings"
)
"""What a duty that found no money is told."""


class TxResult(NamedTuple):
    """What became of one transaction.

    Attributes
    ----------
    code
        0 for success, else the error's code.
    detail
        The error's message, or the refused parts of a message that succeeded; not hashed.
    gas, fee
        Gas used and what was paid for it.
    """

    code: int
    detail: str = ""
    gas: int = 0
    fee: int = 0


@dataclass(slots=True)
class BlockResult:
    """What a block did: results in the order of its transactions, root, and rows to index."""

    results: list[TxResult]
    app_hash: bytes
    changed: bool
    rows: dict[str, list[tuple[object, ...]]]
    validator_updates: tuple[tuple[bytes, int], ...] = ()


@dataclass(slots=True)
class _Known:
    """A decoded transaction whose signature holds.

    ``gas`` is what it reserves: its limit, or less where its kind cannot use so much.
    """

    tx: Transaction
    message: Message
    gas: int


@dataclass(slots=True)
class _Judged:
    """Decoded transactions whose signatures are being judged, and what waits for the verdicts."""

    decoded: list[_Known]
    verdicts: Callable[[], list[bool]]


@dataclass(slots=True)
class _Waiting:
    """Transactions of one account that wait, their fees, their chunks and those they announce."""

    count: int = 0
    fees: int = 0
    chunks: int = 0
    announced: int = 0


@dataclass(slots=True)
class _Sender:
    """An account in a block that is being chosen: next nonce, money, and what it takes so far."""

    nonce: int
    spare: int
    bytes: int = 0
    gas: int = 0


@dataclass(slots=True)
class _Block:
    """Work in progress on one block."""

    height: int
    time: int
    fees: int = 0
    rows: dict[str, list[tuple[object, ...]]] = field(default_factory=lambda: defaultdict(list))
    loaded: Loaded = field(default_factory=Loaded)

    def emit(self, table: str, row: tuple[object, ...]) -> None:
        self.rows[table].append(row)


class Application:
    """One chain's state and rules.

    Parameters
    ----------
    genesis
        The network's genesis.
    height, state
        Those after a block, as stored or as others gave them, to go on from there; without a state
        the chain begins with its genesis.

    Attributes
    ----------
    state
        The committed state, and what a block in progress changes of it.
    height
        Height of the last commit.
    genesis_diff
        What the genesis wrote: the diff of height 0. Empty where the chain went on from a state.
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
        self._waiting: dict[bytes, _Waiting] = defaultdict(_Waiting)
        self._epoch: int | None = None  # of the last block; unknown where none was executed yet
        self._finalized: tuple[int, int, list[bytes]] | None = None

    # --- consensus ----------------------------------------------------------------------------

    def info(self) -> tuple[int, bytes]:
        """Return the height and state root of the last commit."""
        return self.height, self.state.committed_root

    def init_chain(self) -> bytes:
        """Write the genesis into the empty state; may be repeated. Returns the state root."""
        self.state = State()
        write_genesis(self.state, self.genesis)
        self.genesis_diff = self.state.commit()
        return self.state.committed_root

    def anticipate(self, wires: Sequence[bytes]) -> None:
        """Begin to check transactions that will come, in processes beside this one.

        May be called before any other verb with what that is to be called with, to save time.
        """
        known, judged = self._known, self._judged
        if self._remembered > MAX_REMEMBERED:
            known.clear()
            judged.clear()
            self._remembered = 0
        decoded = []
        for wire in dict.fromkeys(one for one in wires if one not in known and one not in judged):
            self._remembered += _weight(wire)
            try:
                tx = transaction.decode(wire)
                message = from_value(tx.message)
                most = most_gas(message, len(wire))
                reserved = tx.gas_limit if most is None else min(tx.gas_limit, most)
                decoded.append(_Known(tx, message, reserved))
            except TransactionError as error:
                # Not the error itself: it holds the frames that raised it.
                known[wire] = TxResult(error.code, str(error))
        if decoded:
            chain = self.genesis.hash
            items = [transaction.signed_item(chain, one.tx) for one in decoded]
            begun = _Judged(decoded, crypto.start_verifying(items))
            judged.update((one.tx.wire, begun) for one in decoded)

    def check_tx(self, wire: bytes) -> TxResult:
        """Say whether a transaction may wait for a block.

        Admits an account's next nonces only, up to the limit of pending ones, and only where the
        balance covers the fees of all of them. A duty needs no balance, unless too many
        have failed, and the announced chunks of a report are not held against the limit.
        """
        try:
            known = self._verified([wire])[0]
            if isinstance(known, TxResult):
                return known
            fee = self._admit(known)
        except TransactionError as error:
            return TxResult(error.code, str(error))
        waiting, message = self._waiting[known.tx.sender], known.message
        waiting.count += 1
        waiting.fees += fee
        waiting.chunks += isinstance(message, ReportChunk)
        if isinstance(message, ReportManifest):
            waiting.announced += len(message.chunks) + len(message.usage_chunks)
        return TxResult(0)

    def prepare_proposal(self, wires: Sequence[bytes], max_bytes: int, time: int) -> list[bytes]:
        """Choose transactions for a block of a given time.

        Takes them in the given order, at first no more of each sender than a quarter of the block's
        bytes and gas; what is left of the block is filled up with the others. Leaves out what
        ``process_proposal`` would refuse a block for, and what does not fit.
        """
        return self._chosen(wires, max_bytes, time, (4, 1))

    def process_proposal(self, wires: Sequence[bytes], time: int) -> bool:
        """Tell whether a proposed block is acceptable: signatures, nonces, fees, bytes and gas."""
        chosen = self._chosen(wires, self._chain().block_bytes, time, (1,))
        return len(chosen) == len(wires)

    def _chosen(
        self, wires: Sequence[bytes], max_bytes: int, time: int, shares: tuple[int, ...]
    ) -> list[bytes]:
        """Choose in rounds: in that of a share n, no sender takes more than 1/n of the block.

        A transaction that would do nothing and cost nothing could come back in each block, so none
        is chosen: the sender must be able to pay for it if those before it succeed, or it is a
        duty that need not be paid for.
        """
        chain, height = self._chain(), self.height + 1
        room = most_bytes = min(max_bytes, chain.block_bytes)
        gas_left, epoch = chain.block_gas, epoch_at(chain, time)
        senders: dict[bytes, _Sender] = {}
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
                sender.spare = max(0, sender.spare - fee - _outlay(known.message))
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
            It cannot stand in a block.
        """
        known = self._verified([wire])[0]
        if isinstance(known, TxResult):
            return 0
        mark = self.state.mark()
        try:
            return self._execute(_Block(self.height + 1, time), self._chain(), 0, known).gas
        finally:
            self.state.revert(mark)

    def finalize_block(
        self,
        height: int,
        time: int,
        wires: Sequence[bytes],
        proposer: bytes,  # noqa: ARG002 - the verb's; evidence and rewards will ask for it
    ) -> BlockResult:
        """Execute a decided block on top of the last commit.

        Parameters
        ----------
        height, time, proposer
            As decided; time in microseconds since 1970.
        wires
            The block's transactions, in order.

        Raises
        ------
        InvariantBroken
            Money would appear or vanish: a defect, fatal to the node.
        UpgradeNeeded
            The chain has decided on something that this release lacks; fatal, too.
        """
        self.state.discard()
        block = _Block(height, time)
        chain = self._chain()
        if chain.gas_schedule not in gas.VERSIONS:
            raise UpgradeNeeded(height=height, what=f"gas schedule {chain.gas_schedule}")
        checked = self._verified(wires)
        results = [
            self._deliver(block, chain, position, known) for position, known in enumerate(checked)
        ]
        if block.fees:
            bank.credit(self.state, TREASURY, block.fees)
        updates = enact(self.state, chain, height, time, block.emit)
        try:
            settle(self.state, chain, height, time, block.emit, block.loaded)
        except UnknownVersion as error:  # an older release than the one that enacted it
            raise UpgradeNeeded(height=height, what=error.numbers["spec"]) from error
        self._check_conservation(height)
        app_hash = self.state.root()
        self._finalized = height, epoch_at(chain, time), list(wires)
        changed = app_hash != self.state.committed_root
        return BlockResult(results, app_hash, changed, dict(block.rows), updates)

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

    def _chain(self) -> Chain:
        chain = self.state.get(CHAIN)
        assert chain is not None, "init_chain comes first"
        return chain

    def _verified(self, wires: Sequence[bytes]) -> list[_Known | TxResult]:
        """Decode and check signatures, on all cores; remember the verdicts."""
        self.anticipate(wires)
        for wire in wires if self._judged else ():
            judged = self._judged.get(wire)
            for one, good in zip(judged.decoded, judged.verdicts()) if judged else ():
                self._judged.pop(one.tx.wire, None)
                self._known[one.tx.wire] = one if good else _refused(one.tx)
        return [self._known[wire] for wire in wires]

    def _admit(self, known: _Known) -> int:
        """Apply the rules for waiting, see :meth:`check_tx`; return the fee that has to be covered."""
        chain, tx = self._chain(), known.tx
        account = bank.account(self.state, tx.sender)
        queue = self._waiting.get(tx.sender, _Waiting())
        nonce = account.nonce + queue.count
        if tx.nonce != nonce:
            raise NonceMismatch(sender=format_address(tx.sender), got=tx.nonce, expected=nonce)
        self._check_bounds(known, self.height + 1)
        duty = self._on_duty(known, self._epoch)
        if queue.count >= chain.pending and not (duty and self._is_awaited(known, queue)):
            raise TooManyPending(sender=format_address(tx.sender), pending=queue.count)
        fee = 0 if duty else self._check_fee(chain, account, known, queue.fees)
        if known.gas > chain.block_gas:
            raise NeverFits(limit=known.gas, block=chain.block_gas)
        return fee

    def _on_duty(self, known: _Known, epoch: int | None) -> bool:
        """Tell whether the sender may say this without money, in an epoch that may be unknown."""
        message, sender = known.message, known.tx.sender
        if not isinstance(message, DUTY):
            return False
        if isinstance(message, Propose | Vote):
            entitled = self.state.get(VALIDATORS, known.tx.public_key) is not None
        else:
            scope = self.state.get(SCOPES, message.scope)
            entitled = scope is not None and sender in scope.reporters
        if not entitled or epoch is None:
            return entitled
        return duty_of(self.state, sender, epoch).failures < MAX_UNPAID

    def _is_awaited(self, known: _Known, queue: _Waiting) -> bool:
        """Tell whether it is a chunk that a manifest, in the state or waiting, has announced."""
        message = known.message
        if not isinstance(message, ReportChunk):
            return False
        key = message.scope, message.epoch, known.tx.sender
        report, progress = self.state.get(REPORTS, *key), self.state.get(PROGRESS, *key)
        awaited = report.parts - progress.received if report and progress else 0
        return queue.chunks < queue.announced + awaited

    def _check_bounds(self, known: _Known, height: int) -> None:
        tx = known.tx
        if height > tx.valid_until:
            raise Expired(until=tx.valid_until, height=height)
        least = gas.intrinsic(len(tx.wire))
        if tx.gas_limit < least:
            raise OutOfGas(needed=least, limit=tx.gas_limit)

    def _check_fee(self, chain: Chain, account: Account, known: _Known, waiting: int = 0) -> int:
        """Return the fee; FeeUncovered if the balance lacks it beside the fees that wait."""
        fee = known.gas * chain.gas_price
        if account.balance < fee + waiting:
            raise _uncovered(chain, known, account.balance, waiting)
        return fee

    # --- execution ----------------------------------------------------------------------------

    def _deliver(
        self, block: _Block, chain: Chain, position: int, known: _Known | TxResult
    ) -> TxResult:
        if isinstance(known, TxResult):
            return known
        try:
            result = self._execute(block, chain, position, known)
        except TransactionError as error:  # before the nonce was taken: a no-op
            result = TxResult(error.code, str(error))
        tx = known.tx
        kind = type(known.message).__name__
        row = (
            position, tx.id, tx.sender, tx.nonce, kind, result.code, result.gas, result.fee,
            result.detail,
        )  # fmt: skip
        block.emit("transactions", row)
        return result

    def _execute(self, block: _Block, chain: Chain, position: int, known: _Known) -> TxResult:
        """Carry out one transaction; raises only where it changes nothing at all."""
        state, tx = self.state, known.tx
        account = bank.account(state, tx.sender)
        if tx.nonce != account.nonce:
            raise NonceMismatch(
                sender=format_address(tx.sender), got=tx.nonce, expected=account.nonce
            )
        self._check_bounds(known, block.height)
        # A duty is tried before anything is paid: it is free if it succeeds within its allowance.
        epoch = epoch_at(chain, block.time)
        duty = self._on_duty(known, epoch)
        held = 0 if duty else self._check_fee(chain, account, known)
        meter = gas.Meter(known.gas)
        meter.charge(gas.intrinsic(len(tx.wire)))
        rows: list[tuple[str, tuple[object, ...]]] = []
        context = Context(
            state, chain, block.height, block.time, tx.sender, tx.public_key, meter, position,
            rows, block.loaded,
        )  # fmt: skip
        mark = state.mark()
        if held:
            state.put(ACCOUNTS, Account(account.balance - held, tx.nonce), tx.sender)
        outcome = TxResult(0)  # not the error itself: it and this frame would hold each other
        free = False
        try:
            free = HANDLERS[type(known.message)](context, known.message)
            if context.note:
                outcome = TxResult(0, context.note)
            balance = bank.account(state, tx.sender).balance + held
        except TransactionError as error:
            outcome = TxResult(error.code, str(error))
            state.revert(mark)
            rows.clear()
            balance = account.balance
        # At least half of the reserved gas is paid for, used or not.
        fee = 0 if free else max(meter.used, known.gas // 2) * chain.gas_price
        if balance < fee:  # only a duty's: everything else has been covered
            state.revert(mark)
            rows.clear()
            if not outcome.code:
                short = _uncovered(chain, known, balance)
                outcome = TxResult(short.code, f"{short}; {ALLOWANCE}")
            used = duty_of(state, tx.sender, epoch)
            state.put(DUTIES, replace(used, failures=used.failures + 1), tx.sender)
            balance, fee = account.balance, 0
        state.put(ACCOUNTS, Account(balance - fee, tx.nonce + 1), tx.sender)
        block.fees += fee
        for table, row in rows:
            block.emit(table, row)
        return TxResult(outcome.code, outcome.detail, meter.used, fee)

    def _check_conservation(self, height: int) -> None:
        """Compare minted - burned with the sum of all changes of balances, purses and carried dust.

        Counts the changed records themselves, not what the handlers say that they moved.
        """
        moved = sum(
            (after.balance if after else 0) - (before.balance if before else 0)
            for before, after in self.state.touched(ACCOUNTS)
        )
        moved += sum(
            (after.purse if after else 0) - (before.purse if before else 0)
            for before, after in self.state.touched(CONTRACTS)
        )
        moved += sum(
            (after.dust if after else 0) - (before.dust if before else 0)
            for before, after in self.state.touched(STREAMS)
        )
        made = sum(
            (after.minted - after.burned if after else 0)
            - (before.minted - before.burned if before else 0)
            for before, after in self.state.touched(SUPPLY)
        )
        if moved != made:
            message = f"{made} minted less burned, {moved} more held"
            raise InvariantBroken(height=height, message=message)


def _outlay(message: Message) -> int:
    """Return what a message takes from its sender's balance if it succeeds, the fee apart."""
    match message:
        case Transfer(amount=amount) | Burn(amount) | TopUp(amount=amount):
            return amount
        case Deploy():
            return message.value + message.purse
        case Call():
            return message.value
    return 0


def _uncovered(chain: Chain, known: _Known, balance: int, waiting: int = 0) -> FeeUncovered:
    return FeeUncovered(
        sender=format_address(known.tx.sender),
        balance=balance - waiting,
        beyond=" beyond the fees of its waiting transactions" if waiting else "",
        gas_limit=known.gas,
        gas_price=chain.gas_price,
        fee=known.gas * chain.gas_price,
    )


def _refused(tx: Transaction) -> TxResult:
    error = BadSignature(sender=format_address(tx.sender))
    return TxResult(error.code, str(error))


def _weight(wire: bytes) -> int:
    """Return about how many bytes a decoded transaction takes in memory, or more."""
    return 4 * len(wire) + 2048


def write_genesis(state: State, genesis: Genesis) -> None:
    """Write the records that a genesis describes into an empty state."""
    limits, rules = genesis.limits, genesis.governance
    chain = Chain(
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
        block_bytes=limits.block_bytes,
        block_gas=limits.block_gas,
        settle_rows=limits.settle_rows,
        max_rows=limits.max_rows,
        max_bindings=limits.max_bindings,
        pending=limits.pending,
        hook_gas=limits.hook_gas,
        hook_budget=limits.hook_budget,
    )
    state.put(CHAIN, chain)
    money, generated = genesis.money, genesis.generated
    origin = Origin(genesis.name, money.symbol, money.decimals, genesis.laboratory, generated)
    state.put(ORIGIN, origin)
    for account in genesis.accounts:
        state.put(ACCOUNTS, Account(account.balance, 0), parse_address(account.address))
    state.put(SUPPLY, Supply(sum(account.balance for account in genesis.accounts), 0))
    for validator in genesis.validators:
        state.put(VALIDATORS, validator.power, bytes.fromhex(validator.public_key))
    for scope in genesis.scopes:
        reporters = tuple(parse_address(text) for text in scope.reporters)
        state.put(SCOPES, Scope(reporters, tuple(scope.metrics), tuple(scope.usage), 0), scope.name)
    for position, stream in enumerate(genesis.streams):
        record = Stream(
            position, stream.scope, stream.rule.spec, stream.policy.spec, stream.rest, 0
        )
        state.put(STREAMS, record, stream.name)


def total_money(state: State) -> int:
    """Return the sum of all balances, purses and carried dust; equals minted - burned, always."""
    held = sum(account.balance for _, account in state.items(ACCOUNTS))
    held += sum(contract.purse for _, contract in state.items(CONTRACTS))
    return held + sum(stream.dust for _, stream in state.items(STREAMS))
