r"""Signed transactions and their one wire format.

wire = ``[body, signature]``; body = the bytes of ``[version, public_key, nonce, gas_limit,
valid_until_height, message]``. What is signed is ``"dii/tx/1\0" ‖ genesis hash ‖ body``, so a
transaction belongs to one chain even where another carries the same name. The body travels as
bytes within the wire, so that what was signed is never encoded again to be checked.

The message is a plain value here: the ledger orders and authenticates messages, the application
interprets them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from dii import codec, crypto, errors
from dii.codec import Value
from dii.crypto import SigningKey

VERSION: Final = 1
DOMAIN: Final = b"dii/tx/1\0"
MAX_BYTES: Final = 1 << 17
"""Bytes of one transaction; a report chunk of 64 KiB is the largest there is."""

_U63: Final = 1 << 63


class Transaction(NamedTuple):
    """A decoded transaction; the signature has not been checked.

    Attributes
    ----------
    wire
        The bytes as they travel and are stored.
    id
        SHA-256 of ``wire``.
    sender, public_key
        The signer's address and key.
    nonce
        Number of the sender's earlier transactions.
    gas_limit
        The most gas that the sender pays for.
    valid_until
        Last height at which a block may hold it.
    message
        The instruction, as a value.
    body, signature
        The signed bytes (without their domain), and the signature.
    """

    wire: bytes
    id: bytes
    sender: codec.Address
    public_key: bytes
    nonce: int
    gas_limit: int
    valid_until: int
    message: Value
    body: bytes
    signature: bytes


def sign(
    key: SigningKey, chain: bytes, nonce: int, message: Value, *, gas_limit: int, valid_until: int
) -> bytes:
    """Return the wire bytes of a signed transaction.

    Parameters
    ----------
    key
        The sender's key.
    chain
        Genesis hash of the chain that it is meant for.
    nonce, gas_limit, valid_until, message
        As in :class:`Transaction`.
    """
    body = codec.encode((VERSION, key.public_key, nonce, gas_limit, valid_until, message))
    return codec.encode((body, key.sign(DOMAIN + chain + body)))


def decode(wire: bytes) -> Transaction:
    """Read a transaction from its wire bytes.

    Raises
    ------
    BadTransaction
        Too large, not canonical, or not of this version.
    """
    # [body, signature]: a signature's 64 bytes end the wire, so the body is all in between.
    if len(wire) > MAX_BYTES or wire[:1] != b"\x82" or wire[-66:-64] != b"\x58\x40":
        message = f"expected [body, signature] of at most {MAX_BYTES} bytes"
        raise errors.BadTransaction(message=message)
    try:
        body = codec.decode(wire[1:-66])
        fields = codec.decode(body) if type(body) is bytes else None
    except errors.CodecError as error:
        raise errors.BadTransaction(message=error) from None
    if type(fields) is not tuple or len(fields) != 6:
        raise errors.BadTransaction(message="expected a body of six fields")
    version, public_key, *numbers, _ = fields
    if type(version) is not int or version != VERSION:
        raise errors.BadTransaction(
            message=f"unknown version {version!r}; this release reads {VERSION}"
        )
    if type(public_key) is not bytes or len(public_key) != 32:
        raise errors.BadTransaction(message="expected a public key of 32 bytes")
    for number in numbers:
        if type(number) is not int or not 0 <= number < _U63:
            raise errors.BadTransaction(message="nonce, gas limit and height must be below 2**63")
    sender = crypto.address_of(public_key)
    return Transaction(wire, crypto.sha256(wire), sender, *fields[1:], body, wire[-64:])


def signed_item(chain: bytes, tx: Transaction) -> tuple[bytes, bytes, bytes]:
    """Return (public key, signed bytes, signature), as the verifier takes them."""
    return tx.public_key, DOMAIN + chain + tx.body, tx.signature
