"""Every error that leaves the package, as one tree.

Errors are part of the interface: a named class, the values that matter, and what the user can do.
Each class states its sentence once, as a template over the values that it carries; the values stay
readable as ``error.numbers``. The command line prints the sentence and exits with 1.

Errors that a block records (below :class:`TransactionError`) also have a ``code``, which is part
of the protocol, as their sentences are: codes are never reused and never change their meaning.
"""

from __future__ import annotations

from typing import ClassVar


class DiiError(Exception):
    """Root of all errors that a user or another program can cause.

    A subclass gives its sentence as ``says``, in its first line if it fits there.

    Parameters
    ----------
    **numbers
        The values named in ``says``.
    """

    says: ClassVar[str] = "{message}"
    code: ClassVar[int] = 1

    def __init_subclass__(cls, says: str = "", code: int = 0) -> None:
        super().__init_subclass__()
        if says:
            cls.says = says
        if code:
            cls.code = code

    def __init__(self, **numbers: object) -> None:
        self.numbers = numbers
        super().__init__(self.says.format(**numbers))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.numbers))


def _rebuild(kind: type[DiiError], numbers: dict[str, object]) -> DiiError:
    """Copy an error into another process (exceptions with keyword arguments need help)."""
    return kind(**numbers)


# --- codec and units ---------------------------------------------------------------------------


class CodecError(DiiError, says="not canonical at byte {offset}: {message}"):
    """Bytes that are not the one canonical encoding of a value."""


class ShapeMismatch(DiiError, says="{shape}: {message}"):
    """A decoded value without the shape of its message or record."""


class BadAmount(DiiError, says="cannot read {text!r} as an amount: {message}"):
    """An unreadable amount of money."""


# --- crypto ------------------------------------------------------------------------------------


class CryptoError(DiiError):
    """Keys, addresses and signatures."""


class AddressInvalid(CryptoError, says="{text!r} is not an address: {message}"):
    """A text that is not the address of an account."""


class KeyInvalid(CryptoError, says="a {what} has 32 bytes, this one has {length}"):
    """Bytes that cannot be a key."""


class AcceleratorRefused(CryptoError):
    """A signature library that decides differently from the rule; it would split the chain."""

    says = "{library} fails the signature test {case!r}: update it, or set DII_NO_ACCELERATOR=1"


class KeyFileExists(CryptoError, says="{path} exists already; choose another name or move it"):
    """A key would have to replace a file; nothing was written."""


class KeyFileInvalid(CryptoError, says="key file {path}: {message}"):
    """A key file that cannot be read or written."""


class WrongPassword(CryptoError, says="the password does not open {path}"):
    """A sound key file and the wrong password."""


# --- genesis -----------------------------------------------------------------------------------


class GenesisError(DiiError, says="genesis, field {field}: {message}"):
    """A genesis file that does not describe a network."""


# --- ledger ------------------------------------------------------------------------------------


class LedgerError(DiiError):
    """Blocks, state, proofs, and the files that keep them."""


class StoreLocked(LedgerError, says="another process is writing {file}; stop it, or read only"):
    """Two writers on one chain."""


class WrongChain(LedgerError):
    """Files of another network."""

    says = "{file} belongs to another genesis than {expected}; use the home it was made in"


class StoreBroken(LedgerError, says="{file}: {message}"):
    """A chain's file that cannot be read or written."""


class BlockDamaged(StoreBroken):
    """A block, diff or snapshot that is missing or differs from what was written."""

    says = (
        "{file}: block {height} is damaged ({message}); nothing was changed: put a copy of the"
        " chain back, or restore from a snapshot of another node's"
    )


class SnapshotInvalid(LedgerError, says="snapshot of height {height}: {message}; ask another node"):
    """A snapshot that is damaged, or not of the trusted state."""


class IndexMissing(LedgerError, says="{file} cannot be read ({message}); run: dii rebuild"):
    """Query tables that are missing or unreadable; they can be made from the chain."""


class IndexDamaged(IndexMissing):
    """Query tables that differ from what the chain's state commits to."""

    says = "{file}: receipts of epoch {epoch}, stream {stream}, are damaged; run: dii rebuild"


class IndexFull(LedgerError):
    """No room on the disk for the query tables, which making them again would not give."""

    says = "{file}: {message}; make room on its disk, and start again: no block is lost"


class BlockInvalid(LedgerError, says="block {height}: {message}"):
    """A block that does not follow from the chain before it."""


class InvariantBroken(LedgerError):
    """Money would appear or vanish: a defect. The node stops and the block is not committed."""

    says = "block {height} does not conserve: {message}; nothing was committed"


class UpgradeNeeded(LedgerError):
    """A decision of the chain that this release cannot execute; the node stops before it."""

    says = "block {height} needs {what}, which this release lacks; install one that has it"


class NoQuorum(LedgerError):
    """Too little voting power to sign alone: the keys of other validators are needed."""

    says = "the keys here have {held} of {total} voting power; a block needs more than two thirds"


class ProofInvalid(LedgerError, says="the proof does not hold: {message}"):
    """A proof that does not lead to the trusted hash."""


# --- network -----------------------------------------------------------------------------------


class NetworkError(DiiError):
    """A network and its home directory."""


class HomeExists(NetworkError):
    """A folder that cannot take a new network, since it has one."""

    says = "{folder} already holds a network; choose another folder, or use it as it is"


class HomeMissing(NetworkError, says="no network in {folder}; make one: dii init --home {folder}"):
    """A folder without a network."""


class HomeJoined(NetworkError):
    """An operation on keys, telemetry or early blocks, none of which a restored home has."""

    says = "{folder} began with a snapshot of height {base}: {what}; ask a home with all blocks"


class NothingToExport(NetworkError):
    """A chain without a header after a state that it has."""

    says = "no header proves a state of a chain of height {height} yet; add a block, and try again"


class HomeBroken(NetworkError, says="{file}: {message}"):
    """A file of a home that cannot be read or written."""


class KeyMissing(NetworkError):
    """An account whose key is not here, so that it cannot sign here."""

    says = "no key for {name} in {folder}: restore its file, or make an account: dii keys new NAME"


class NotClaimed(KeyMissing):
    """An unclaimed claim account, which has no key."""

    says = "{name!r} is not claimed yet: dii keys new NAME, then dii claim {quoted} NAME"


class SignsElsewhere(KeyMissing, says="{name!r} is claimed by {owner}: --from {quoted}"):
    """A claimed claim account, for which its owner's key signs."""


class NoReporter(NetworkError):
    """A home without a reporter's key, which can neither report nor bind."""

    says = "no key in {folder} reports on scope {scope}; that is for {reporters}"


class UnknownName(NetworkError, says="no {kind} goes by {name!r} here; see dii list {kind}s"):
    """A name without an object of this kind here."""


class UnknownStream(UnknownName):
    """An unknown stream; adding one takes more than a name."""

    says = "no stream goes by {name!r}, but {known}; a new one takes a rule and a policy"


class BadName(NetworkError):
    """A name that cannot be that of a key's file."""

    says = "{name!r} cannot name an account: use 1 to 64 letters, digits, . _ -, no sign first"


class NameTaken(NetworkError, says="an account is called {name!r} already; choose another name"):
    """A name that another account has: money for it could go to either."""


class LaboratoryKeys(NetworkError):
    """A foreign key in a laboratory network, where every key follows from the seed."""

    says = "{folder} is a laboratory network, whose keys all follow from its seed; import none"


class NotSealed(NetworkError):
    """A network without a genesis: it waits for its first telemetry."""

    says = "no genesis yet: load receptions or statuses, whose first day it takes, or give a start"


class NoTelemetry(NetworkError):
    """A network that has a chain, and no records to compute anything from."""

    says = "no telemetry in {folder} (never loaded, or removed); load the files: dii load FILE ..."


class TrafficGenerated(NetworkError):
    """Generated and real receptions in one network: their payments could not be distinguished."""

    says = "the genesis says that traffic is {known}, and this is {given}; use a --home of its own"


class NotYetSettled(NetworkError):
    """An epoch without issuance so far."""

    says = "epoch {epoch} is not settled; the number of settled epochs is {settled}"


class NoReceipt(NetworkError):
    """A gateway that was not reported in an epoch."""

    says = "gateway {gateway} has no receipt in epoch {epoch} of stream {stream}"


class BadMonth(NetworkError, says="cannot read {text!r} as a month; write it like 2018-04"):
    """A text that is not a calendar month."""


class NoProgress(LedgerError):
    """Validators that decide no block."""

    says = (
        "no block at height {height}, in round {round}: {power} of {total} voting power"
        " answers, and a block needs more than two thirds ({faults})"
    )


class Refused(NetworkError, says="{kind} refused: {message}"):
    """A transaction that the chain refused."""


# --- transactions ------------------------------------------------------------------------------


class TransactionError(DiiError):
    """A transaction that failed; its ``code`` is in the block's results.

    ``gas`` is what a contract had used when it failed.
    """

    gas: int = 0


class BadTransaction(TransactionError, code=2, says="not a transaction: {message}"):
    """Bytes that are not a transaction of this version."""


class BadSignature(TransactionError, code=3):
    """A signature that is not the sender's over this transaction on this chain."""

    says = "the signature of {sender} is not valid on this chain"


class NonceMismatch(TransactionError, code=4):
    """A nonce that is not the account's next; nonces are consecutive."""

    says = "wrong nonce {got}; the next nonce of {sender} is {expected}"


class Expired(TransactionError, code=5):
    """A transaction that was valid until an earlier height."""

    says = "expired at height {until}, and this is height {height}; sign it again"


class FeeUncovered(TransactionError, code=6):
    """A sender who cannot pay for the gas that the transaction may use."""

    says = "{sender} has {balance}{beyond}, but {gas_limit} gas at {gas_price} costs {fee}"


class OutOfGas(TransactionError, code=7):
    """A transaction that needs more gas than it allows."""

    says = "needs {needed} gas, but the gas limit is {limit}; raise it"


class InsufficientFunds(TransactionError, code=8):
    """An amount that the account does not have."""

    says = "{account} has {balance}, but {needed} is needed"


class TooManyPending(TransactionError, code=10):
    """An account with as many waiting transactions as the chain admits."""

    says = "{sender} already has {pending} pending transactions, the maximum; wait for a block"


class UnknownScope(TransactionError, code=11, says="there is no scope {scope!r}"):
    """A name that no scope has."""


class UnknownReporter(TransactionError, code=12):
    """A sender who is not a reporter of the scope."""

    says = "{sender} is not a reporter of scope {scope!r}"


class EpochNotReportable(TransactionError, code=13):
    """An epoch that has not ended, or is being settled or closed already."""

    says = "epoch {epoch} of scope {scope!r} is {status}; report it after its end"


class DuplicateReport(TransactionError, code=14):
    """A second report of one reporter on one epoch."""

    says = "duplicate report of {sender} on epoch {epoch} of scope {scope!r}"


class BadReport(TransactionError, code=15):
    """A manifest or chunk that differs from what the scope demands or was announced."""

    says = "report on epoch {epoch} of scope {scope!r}: {message}"


class MetricOutOfRange(TransactionError, code=16):
    """A metric beyond its bound."""

    says = "{metric} is {value} in row {row}, above its maximum of {maximum}"


class NotTheOwner(TransactionError, code=18):
    """A gateway assigned by an account that does not own it."""

    says = "gateway {gateway} belongs to {owner}, not to {sender}"


class UnknownGateway(TransactionError, code=19):
    """A gateway hash without a binding."""

    says = "gateway {gateway} has no owner in scope {scope!r}"


class AlreadyClaimed(TransactionError, code=20):
    """A claim account that forwards to a key already."""

    says = "claim account {account} was already claimed by {owner}"


class BadMessage(TransactionError, code=21, says="{kind}: {message}"):
    """A message with impossible content."""


class GasLimitTooHigh(TransactionError, code=40):
    """A transaction that may use more gas than a whole block has."""

    says = "the gas limit {limit} is above the gas of a block ({block}); lower it"


# --- governance --------------------------------------------------------------------------------


class NotValidator(TransactionError, code=41):
    """A proposal or vote by an account that is not a validator."""

    says = "{sender} is not a validator; only validators propose and vote"


class UnknownProposal(TransactionError, code=42, says="there is no proposal {number}"):
    """A number that no proposal has."""


class ProposalClosed(TransactionError, code=43):
    """A vote after the end of its proposal."""

    says = "proposal {number} is {status}; it takes no more votes"


class BadAction(TransactionError, code=44, says="{action}: {message}"):
    """An action that cannot be executed, ever or in the present state of the chain."""


# --- contracts ---------------------------------------------------------------------------------


class BadSource(DiiError):
    """A text outside the language of contracts; ``numbers["faults"]`` has every fault.

    Shown as :func:`dii.contracts.faults.render` does, with lines of the source and carets.
    """


class BadContract(TransactionError, code=22, says="invalid contract: {message}"):
    """A tree that is no contract: wrong shape, beyond the bounds, or not well-formed."""


class BadProgram(TransactionError, code=23):
    """A tree that breaks the rules of the language; ``numbers["faults"]`` has every fault."""


class Reverted(TransactionError, code=24):
    """A call that a contract refused or could not finish; only its fee is charged."""


class BadCall(TransactionError, code=25, says="{function}: {message}"):
    """A call that does not fit the contract: no such function, wrong arguments, unwanted money."""


class UnknownContract(TransactionError, code=26, says="there is no contract at {address}"):
    """An address without a contract."""


class HookBudgetFull(TransactionError, code=28):
    """A contract for whose @on_epoch functions no gas is left to reserve."""

    says = "cannot reserve {needed} gas an epoch in scope {scope!r}; {left} is left"


class GasDepositTooSmall(TransactionError, code=29):
    """A gas deposit that cannot pay for one epoch."""

    says = "the gas deposit {deposit} does not cover an epoch of @on_epoch calls ({fee}); top it up"


# --- minting -----------------------------------------------------------------------------------


class MintingError(DiiError):
    """Rules, policies and issuance."""


class UnknownVersion(MintingError, says="{spec} is unknown; choose from {choices}"):
    """A rule or policy that this node does not have."""


class Overflow(MintingError):
    """A rule whose parameters could pass 2**63."""

    says = "{rule} could give a weight of {weight}, outside 0 to 2**63 - 1; lower its parameters"


class BadParameter(MintingError, says="{spec}: {message}"):
    """A rule or policy with a parameter out of its range."""


class MintsTooMuch(MintingError):
    """A policy that could pass what all streams together may mint."""

    says = "stream {stream} may mint {most} an epoch, above max_mint_per_epoch {limit}"


class NothingToCompare(MintingError):
    """Records from which the laboratory cannot tell rules apart."""


class MetricNotReported(TransactionError, MintingError, code=27):
    """A metric that a rule or a contract needs and the scope's reporters do not give."""

    says = "{what} needs {metric}, which scope {scope} does not report ({given})"


class RuleNotFed(MetricNotReported):
    """A metric that a network's rule needs and its first records do not give."""

    says = "{rule} needs {metric}, which these files do not give ({given}): {advice}"


# --- telemetry ---------------------------------------------------------------------------------


class TelemetryError(DiiError):
    """Input that cannot be loaded at all (single bad records become rejects instead)."""


class SourceMissing(TelemetryError, says="{file}: no such file"):
    """A file that is not there, or a pattern that matches none."""


class SourceUnreadable(TelemetryError, says="{file}: {message}"):
    """Something that cannot be opened as a file of records."""


class SourceUnreachable(TelemetryError, says="{file}: {message} (attempts: {attempts})"):
    """A file on the web that cannot be fetched whole and in time."""


class UnknownFormat(TelemetryError):
    """A file whose beginning no reader recognises."""

    says = "{file}: no reader knows its form: {what}; see dii load --explain FILE, docs/formats.md"


class NothingLoaded(TelemetryError):
    """A load of which every record was set aside."""

    says = "every record was set aside ({count:,}); the first: {file}, line {line}: {detail}"


class InputTooLarge(TelemetryError):
    """Input beyond what may be parsed, such as a compressed file that expands without end."""

    says = "{file}: {what} of {size:,} {unit} where {limit:,} are allowed"


class FarInTime(TelemetryError):
    """Records that lie too far apart in time for all of their dates to be right."""

    says = "{what}: {parts}; mend the dates, or, if they are right, {option}"


class BadColumns(TelemetryError, says="{file}: {message}"):
    """Wrong names of columns, in a table or in ``columns=``."""


class RecordRejected(TelemetryError, says="{file}, line {line}: {reason}: {detail}"):
    """A bad record in a strict load; in any other load it becomes a reject."""
