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


# --- genesis -----------------------------------------------------------------------------------


class GenesisError(DiiError):
    """A genesis file that does not describe a network."""

    template = "genesis, field {field}: {message}"


# --- ledger ------------------------------------------------------------------------------------


class LedgerError(DiiError):
    """Blocks, state, proofs and the files that keep them."""


class ProofInvalid(LedgerError):
    """A proof that does not lead to the trusted hash."""

    template = "the proof does not hold: {message}"


# --- transactions ------------------------------------------------------------------------------


class TransactionError(DiiError):
    """A transaction that cannot be carried out; its ``code`` stands in the block's results."""

    code: ClassVar[int] = 1


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

    template = "{rule} could give a weight of {weight}, outside 0 to 2**63 - 1; lower its parameters"


class MetricNotReported(MintingError):
    """A rule needs a metric that the scope's reporters do not give."""

    template = "stream {stream}: {rule} needs {metric}, which scope {scope} does not report ({given})"


# --- telemetry ---------------------------------------------------------------------------------


class TelemetryError(DiiError):
    """Input that cannot be loaded at all (single bad records become rejects instead)."""
