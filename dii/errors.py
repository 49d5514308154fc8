"""Every error that leaves the package, as one tree.

Errors are part of the interface: a named class, the numbers that matter and what the reader can
do. Each class states its sentence once, as a template over the numbers it carries; the numbers
stay readable as ``error.numbers``. The command line prints the sentence and exits with 1.

Errors that a block records (below :class:`TransactionError`) also have a ``code``, which is part
of the protocol: codes are never reused and never change their meaning.
"""

from __future__ import annotations

from typing import ClassVar


class DiiError(Exception):
    """Root of all errors that a user or another program can cause.

    Parameters
    ----------
    **numbers
        The values named in ``template``.
    """

    template: ClassVar[str] = "{message}"

    def __init__(self, **numbers: object) -> None:
        self.numbers = numbers
        super().__init__(self.template.format(**numbers))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.numbers))


def _rebuild(kind: type[DiiError], numbers: dict[str, object]) -> DiiError:
    """Copy an error into another process (exceptions with keyword arguments need help)."""
    return kind(**numbers)


# --- codec and units ---------------------------------------------------------------------------


class CodecError(DiiError):
    """Bytes that are not the one canonical encoding of a value."""

    template = "not canonical at byte {offset}: {message}"


class ShapeMismatch(DiiError):
    """A decoded value does not have the shape of the message or record it should be."""

    template = "{shape}: {message}"


class BadAmount(DiiError):
    """An amount of money that cannot be read."""

    template = "cannot read {text!r} as an amount: {message}"


# --- crypto ------------------------------------------------------------------------------------


class CryptoError(DiiError):
    """Keys, addresses and signatures."""


class AddressInvalid(CryptoError):
    """A text that is not the address of an account."""

    template = "{text!r} is not an address: {message}"


class KeyInvalid(CryptoError):
    """Bytes that cannot be a key."""

    template = "a {what} has 32 bytes, this one has {length}"


class AcceleratorRefused(CryptoError):
    """A signature library whose verdict differs from the rule; using it would split the chain."""

    template = (
        "{library} judges the edge case {case!r} of signatures wrongly: install another release,"
        " or set DII_NO_ACCELERATOR=1 to verify without it"
    )


class KeyFileExists(CryptoError):
    """A key would have to replace a file; nothing was written."""

    template = "{path} exists already; choose another name, or move it away"


class KeyFileInvalid(CryptoError):
    """A key file that cannot be read or written."""

    template = "key file {path}: {message}"


class WrongPassword(CryptoError):
    """A sound key file that this password does not open."""

    template = "the password does not open {path}"


# --- genesis -----------------------------------------------------------------------------------


class GenesisError(DiiError):
    """A genesis file that does not describe a network."""

    template = "genesis, field {field}: {message}"


# --- ledger ------------------------------------------------------------------------------------


class LedgerError(DiiError):
    """Blocks, state, proofs and the files that keep them."""


class StoreLocked(LedgerError):
    """Two writers on one chain."""

    template = "{file} is being written by another process; stop it, or read only"


class WrongChain(LedgerError):
    """Files of another network."""

    template = "{file} belongs to another genesis than {expected}; use the home it was made in"


class StoreBroken(LedgerError):
    """The chain's file cannot be read or written."""

    template = "{file}: {message}"


class BlockDamaged(StoreBroken):
    """A block, diff or snapshot that is not what was written, or is no longer there."""

    template = (
        "{file}: block {height} is damaged ({message}); nothing was changed: put a copy of the"
        " chain back, or restore from a snapshot of another node's"
    )


class SnapshotInvalid(LedgerError):
    """A snapshot that is not what it says, or not of the trusted state."""

    template = "snapshot of height {height}: {message}; ask another node for one"


class IndexMissing(LedgerError):
    """No query tables; they can be made from the chain."""

    template = "{file} cannot be read ({message}); make it again with: dii rebuild"


class IndexDamaged(IndexMissing):
    """Query tables that are not what the chain's state commits to."""

    template = (
        "{file}: the receipts of epoch {epoch}, stream {stream}, are not those of the chain; make"
        " the tables again with: dii rebuild"
    )


class IndexFull(IndexMissing):
    """No room for the query tables, which making them again would not give."""

    template = "{file}: {message}; make room on its disk, and start again: no block is lost"


class BlockInvalid(LedgerError):
    """A block that does not follow from the chain before it."""

    template = "block {height}: {message}"


class InvariantBroken(LedgerError):
    """Money would appear or vanish: a defect. The node stops and the block is not committed."""

    template = "block {height} does not conserve: {message}; nothing was committed"


class UpgradeNeeded(LedgerError):
    """The chain has decided on something that this release lacks; the node stops before it."""

    template = (
        "block {height} needs {what}, which this release of dii does not have: install one that"
        " does, then start again; nothing was committed"
    )


class NoQuorum(LedgerError):
    """Whoever would sign alone has too little voting power."""

    template = (
        "the keys here have {held} of {total} voting power, and a block needs more than two thirds:"
        " it takes the keys of other validators"
    )


class ProofInvalid(LedgerError):
    """A proof that does not lead to the trusted hash."""

    template = "the proof does not hold: {message}"


# --- network -----------------------------------------------------------------------------------


class NetworkError(DiiError):
    """A network and its home directory."""


class HomeExists(NetworkError):
    """A new network where one lives."""

    template = "{folder} already holds a network; choose another folder, or use it as it is"


class HomeMissing(NetworkError):
    """No network in a folder."""

    template = "{folder} holds no network; make one with: dii init --home {folder}"


class HomeJoined(NetworkError):
    """Something that takes keys, telemetry or earlier blocks, where none are."""

    template = (
        "{folder} began with a snapshot of height {base}: it has neither keys nor telemetry nor"
        " what was before, so {what}; ask a home that has the whole chain"
    )


class NothingToExport(NetworkError):
    """A chain without a header after a state that it has."""

    template = "a chain of height {height} has no state to hand on yet; add a block, and try again"


class HomeBroken(NetworkError):
    """A file of a home that cannot be read or written."""

    template = "{file}: {message}"


class KeyMissing(NetworkError):
    """An account whose key is not here cannot sign here."""

    template = (
        "no key for {name} in {folder}: put its file back, or make another account with:"
        " dii keys new NAME"
    )


class NotClaimed(KeyMissing):
    """A claim account that nobody has claimed has no key that could sign."""

    template = "{name!r} is not claimed yet: dii keys new NAME, then dii claim {quoted} NAME"


class SignsElsewhere(KeyMissing):
    """A claimed claim account has no key of its own; its owner's signs."""

    template = "{name!r} is claimed by {owner}: --from {quoted}"


class NoReporter(NetworkError):
    """A home that has the key of no reporter can neither report nor bind."""

    template = "no key in {folder} reports on scope {scope}; that is for {reporters}"


class UnknownName(NetworkError):
    """A name that nothing here goes by."""

    template = "no {kind} goes by {name!r} here; list them with: dii list {kind}s"


class UnknownStream(UnknownName):
    """A stream that is not there; too little is said to add one."""

    template = "no stream goes by {name!r}, but {known}; a new one takes a rule and a policy"


class BadName(NetworkError):
    """A name that cannot be that of a key's file."""

    template = (
        "{name!r} cannot name an account: write 1 to 64 letters, digits, '.', '_' or '-', and begin"
        " with a letter or digit"
    )


class NameTaken(NetworkError):
    """A second account of one name: money for it could go to either."""

    template = "an account is called {name!r} already; choose another name"


class LaboratoryKeys(NetworkError):
    """A foreign key in a laboratory network, where every key follows from the seed."""

    template = "{folder} is a laboratory network, whose keys all follow from its seed; import none"


class NotSealed(NetworkError):
    """The network waits for its first telemetry."""

    template = (
        "the network has no genesis yet: load receptions or statuses, with whose first day it"
        " starts, or make it with a start"
    )


class NoTelemetry(NetworkError):
    """A network that has a chain, and no records to compute anything from."""

    template = (
        "there is no telemetry in {folder}: none was loaded, or its folder telemetry/ has been"
        " removed; load the files (again) with: dii load FILE ..."
    )


class TrafficGenerated(NetworkError):
    """Generated receptions and real ones in one network: nobody could tell what was paid for."""

    template = (
        "this network's genesis says that its traffic is {known}, and these are {given}; take them"
        " into a home of their own (--home)"
    )


class NotYetSettled(NetworkError):
    """An epoch without issuance so far."""

    template = "epoch {epoch} is not settled; the number of settled epochs is {settled}"


class NoReceipt(NetworkError):
    """A gateway that was not reported in an epoch."""

    template = "gateway {gateway} has no receipt in epoch {epoch} of stream {stream}"


class BadMonth(NetworkError):
    """A text that is no calendar month."""

    template = "cannot read {text!r} as a month; write it like 2018-04"


class Refused(NetworkError):
    """A transaction that the chain refused."""

    template = "{kind} refused: {message}"


# --- transactions ------------------------------------------------------------------------------


class TransactionError(DiiError):
    """A transaction that cannot be carried out; its ``code`` stands in the block's results.

    ``gas`` is what a contract had used when it failed.
    """

    code: ClassVar[int] = 1
    gas: int = 0


class BadTransaction(TransactionError):
    """Bytes that are no transaction of this version."""

    code = 2
    template = "not a transaction: {message}"


class BadSignature(TransactionError):
    """The signature is not the sender's over this transaction on this chain."""

    code = 3
    template = "the signature of {sender} does not hold on this chain"


class NonceMismatch(TransactionError):
    """Nonces are consecutive; this one is not the account's next."""

    code = 4
    template = "nonce {got} where {expected} is next for {sender}"


class Expired(TransactionError):
    """The transaction was valid until an earlier height."""

    code = 5
    template = "valid until height {until}, and this is height {height}; sign it again"


class FeeUncovered(TransactionError):
    """The sender cannot pay for the gas that the transaction may use."""

    code = 6
    template = "{sender} has {balance}{beyond}, and {gas_limit} gas at {gas_price} costs {fee}"


class OutOfGas(TransactionError):
    """The transaction needs more gas than it allows."""

    code = 7
    template = "needs {needed} gas and allows {limit}; raise the gas limit"


class InsufficientFunds(TransactionError):
    """An amount that the account does not have."""

    code = 8
    template = "{account} has {balance}, and {needed} is needed"


class TooManyPending(TransactionError):
    """The account has as many waiting transactions as the chain admits."""

    code = 10
    template = "{sender} has {pending} transactions waiting, the most admitted; wait for a block"


class UnknownScope(TransactionError):
    """No scope of this name."""

    code = 11
    template = "there is no scope {scope!r}"


class UnknownReporter(TransactionError):
    """The sender is not a reporter of the scope."""

    code = 12
    template = "{sender} does not report on scope {scope!r}"


class EpochNotReportable(TransactionError):
    """The epoch has not ended, or is being settled or closed already."""

    code = 13
    template = "epoch {epoch} of scope {scope!r} is {status}; reports are due once it has ended"


class DuplicateReport(TransactionError):
    """A reporter reports an epoch once."""

    code = 14
    template = "{sender} has reported epoch {epoch} of scope {scope!r} already"


class BadReport(TransactionError):
    """A manifest or chunk that is not as the scope demands or as it was announced."""

    code = 15
    template = "report on epoch {epoch} of scope {scope!r}: {message}"


class MetricOutOfRange(TransactionError):
    """A metric beyond its bound."""

    code = 16
    template = "{metric} is {value} in row {row}, above its bound of {maximum}"


class NotTheOwner(TransactionError):
    """Only a gateway's owner hands it on."""

    code = 18
    template = "gateway {gateway} belongs to {owner}, not to {sender}"


class UnknownGateway(TransactionError):
    """A gateway hash that nobody has bound."""

    code = 19
    template = "no gateway {gateway} is bound in scope {scope!r}"


class AlreadyClaimed(TransactionError):
    """A claim account that forwards to a key already."""

    code = 20
    template = "claim account {account} was claimed by {owner} already"


class BadMessage(TransactionError):
    """A message whose content makes no sense."""

    code = 21
    template = "{kind}: {message}"


class NeverFits(TransactionError):
    """A transaction that may use more gas than a whole block has."""

    code = 40
    template = "a gas limit of {limit} fits into no block, which has {block}; lower it"


# --- governance --------------------------------------------------------------------------------


class GovernanceError(TransactionError):
    """A proposal or a vote that cannot stand."""


class NotValidator(GovernanceError):
    """Only validators govern."""

    code = 41
    template = "{sender} is no validator; only validators propose and vote"


class UnknownProposal(GovernanceError):
    """No proposal of this number."""

    code = 42
    template = "there is no proposal {number}"


class ProposalClosed(GovernanceError):
    """A vote that comes too late."""

    code = 43
    template = "proposal {number} is {status}: votes on it no longer count"


class BadAction(GovernanceError):
    """An action that nobody can carry out, as it is or as the chain stands."""

    code = 44
    template = "{action}: {message}"


# --- contracts ---------------------------------------------------------------------------------


class BadSource(DiiError):
    """A text that is not in the language of contracts; ``numbers["faults"]`` has all that is wrong.

    Shown as :func:`dii.contracts.faults.render` does, with lines of the source and carets.
    """


class ContractError(TransactionError):
    """A contract, or a call of one, that cannot stand."""


class BadContract(ContractError):
    """A tree that is no contract: wrong shape, beyond the bounds, or not well-formed."""

    code = 22
    template = "not a contract: {message}"


class BadProgram(ContractError):
    """A tree that breaks the rules of the language; ``numbers["faults"]`` has all that is wrong."""

    code = 23


class Reverted(ContractError):
    """A contract refused, or could not go on; nothing but the fee remains of the call."""

    code = 24


class BadCall(ContractError):
    """A call that does not fit the contract: no such function, wrong arguments, or unwanted money."""

    code = 25
    template = "{function}: {message}"


class UnknownContract(ContractError):
    """No contract at an address."""

    code = 26
    template = "there is no contract at {address}"


class HookBudgetFull(ContractError):
    """Every unit of gas that may run by itself each epoch is reserved already."""

    code = 28
    template = "scope {scope!r} has {left} gas an epoch left to reserve, and it needs {needed}"


class PurseTooSmall(ContractError):
    """A gas deposit, or purse, that cannot pay for one epoch."""

    code = 29
    template = (
        "the purse ({purse}) does not cover the gas of one epoch of @on_epoch functions ({fee});"
        " put more money into it"
    )


# --- minting -----------------------------------------------------------------------------------


class MintingError(DiiError):
    """Rules, policies and issuance."""


class NoWeights(MintingError):
    """An epoch in which nobody earned."""

    template = "the weights of {payees} payees sum to zero; a pool of {pool} has nobody to go to"


class UnknownVersion(MintingError):
    """A rule or policy that this node does not have."""

    template = "{spec} is not known here; there is {choices}"


class Overflow(MintingError):
    """A rule whose parameters could pass 2**63."""

    template = (
        "{rule} could give a weight of {weight}, outside 0 to 2**63 - 1; lower its parameters"
    )


class BadParameter(MintingError):
    """A rule or policy with a parameter out of its range."""

    template = "{spec}: {message}"


class MintsTooMuch(MintingError):
    """A policy that could pass what all streams together may mint."""

    template = "stream {stream} may mint {most} an epoch, above max_mint_per_epoch {limit}"


class NothingToCompare(MintingError):
    """Records from which the laboratory cannot tell rules apart."""


class MetricNotReported(ContractError, MintingError):
    """A rule or a contract needs a metric that the scope's reporters do not give."""

    code = 27
    template = "{what} needs {metric}, which scope {scope} does not report ({given})"


class RuleNotFed(MetricNotReported):
    """A network's rule needs what its first records do not tell."""

    template = "{rule} needs {metric}, which these files do not give ({given}): {advice}"


# --- telemetry ---------------------------------------------------------------------------------


class TelemetryError(DiiError):
    """Input that cannot be loaded at all (single bad records become rejects instead)."""


class SourceMissing(TelemetryError):
    """A file that is not there, or a pattern that matches none."""

    template = "{file}: no such file"


class SourceUnreadable(TelemetryError):
    """Something that cannot be opened as a file of records."""

    template = "{file}: {message}"


class SourceUnreachable(TelemetryError):
    """A file on the web that its server does not hand out, or not whole and in time."""

    template = "{file}: {message} (attempts: {attempts})"


class UnknownFormat(TelemetryError):
    """A file whose beginning no reader recognises."""

    template = (
        "{file}: no reader knows this format: {what}. Why each declines it: dii load --explain"
        " FILE; what they know: docs/formats.md"
    )


class NothingLoaded(TelemetryError):
    """A load of which every record was set aside."""

    template = "every record was set aside ({count:,}); the first: {file}, line {line}: {detail}"


class InputTooLarge(TelemetryError):
    """Input beyond what may be parsed, such as a compressed file that expands without end."""

    template = "{file}: {what} of {size:,} {unit} where {limit:,} are allowed"


class FarInTime(TelemetryError):
    """Records that lie too far apart in time for all of their dates to be right."""

    template = "{what}: {parts}; mend the dates, or, if they are right, {option}"


class BadColumns(TelemetryError):
    """Names of columns, in a table or in ``columns=``, that cannot be right."""

    template = "{file}: {message}"


class RecordRejected(TelemetryError):
    """A bad record in a strict load; in any other load it becomes a reject."""

    template = "{file}, line {line}: {reason}: {detail}"
