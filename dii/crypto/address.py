r"""Addresses of accounts and contracts, and keyed hashes of identifiers that must not be public.

An account's address is the first 20 bytes of a SHA-256. Accounts that have no key (contracts,
and operators who have not yet claimed theirs) get theirs from hashes with a domain of their own,
``"dii/contract/1\0"`` and ``"dii/claim/1\0"``, and are longer than the 32 bytes of a public key.

Addresses are shown as bech32m (BIP-350) with the prefix ``dii``: up to four wrong characters are
always detected, and case does not matter. Hexadecimal with a checksum in its capitals (EIP-55) was
rejected: software that folds case removes the checksum silently.

Gateways and applications are on the chain as keyed hashes. A plain hash would hide nothing, since
all EUIs can be tried. Only the network key links a hash to its name.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from functools import reduce
from operator import xor
from typing import Final

from dii import codec, errors

__all__ = [
    "address_of", "claim_address", "contract_address", "format_address", "keyed_hash",
    "parse_address", "sha256",
]  # fmt: skip

PREFIX: Final = "dii"
KINDS: Final = ("gateway", "application", "operator")
"""Kinds of identifiers. None holds a zero byte, which separates kind and identifier."""

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_SYMBOLS: Final = {letter: number for number, letter in enumerate(_ALPHABET)}
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_FOLDS: Final = tuple(
    reduce(xor, (part for bit, part in enumerate(_GENERATOR) if top >> bit & 1), 0)
    for top in range(32)
)
"""Change of the remainder by each value of its top five bits, for speed."""
_BECH32M: Final = 0x2BC830A3


def sha256(data: bytes) -> bytes:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(data).digest()


def address_of(public_key: bytes) -> codec.Address:
    """Return the address of a public key's account: the first 20 bytes of its SHA-256."""
    return codec.Address(sha256(public_key)[:20])


def contract_address(deployer: codec.Address, nonce: int) -> codec.Address:
    """Return the address of the contract that a deployer creates with transaction ``nonce``."""
    return codec.Address(sha256(b"dii/contract/1\0" + deployer + nonce.to_bytes(8))[:20])


def claim_address(scope: str, operator_hash: codec.KeyedHash) -> codec.Address:
    """Return the claim account's address of an operator, given the operator's keyed hash.

    The address depends on the scope, so that reporters of another scope cannot give access to it. A
    scope's name has no zero byte.
    """
    known = b"dii/claim/1\0" + scope.encode() + b"\0" + operator_hash
    return codec.Address(sha256(known)[:20])


def keyed_hash(network_key: bytes, kind: str, identifier: str) -> codec.KeyedHash:
    """Return the hash of a gateway, an application or an operator on the chain.

    Parameters
    ----------
    network_key
        32 bytes that the reporters share and that are never on the chain.
    kind
        One of ``KINDS``.
    identifier
        The id, as in telemetry.

    Returns
    -------
    KeyedHash
        The first 20 bytes of HMAC-SHA-256(key, kind ‖ 0 ‖ identifier).

    Raises
    ------
    KeyInvalid
        The network key is not of 32 bytes.
    """
    if len(network_key) != 32:
        raise errors.KeyInvalid(what="network key", length=len(network_key))
    if kind not in KINDS:
        raise ValueError(f"{kind} has no keyed hash")
    message = kind.encode() + b"\0" + identifier.encode()
    return codec.KeyedHash(hmac.digest(network_key, message, "sha256")[:20])


def format_address(address: bytes) -> str:
    """Return an address as text: ``dii1…``, 42 characters."""
    number = int.from_bytes(address)
    return bech32m_encode(PREFIX, [number >> shift & 31 for shift in range(155, -1, -5)])


def parse_address(text: str) -> codec.Address:
    """Read an address from text in lower or in upper case.

    Raises
    ------
    AddressInvalid
        Not bech32m, mistyped, or of another kind.
    """
    prefix, symbols = bech32m_decode(text)
    if prefix != PREFIX:
        raise errors.AddressInvalid(text=text, message=f"it should begin with {PREFIX}1")
    if len(symbols) != 32:
        raise errors.AddressInvalid(text=text, message="it should have 42 characters")
    number = 0
    for symbol in symbols:
        number = number << 5 | symbol
    return codec.Address(number.to_bytes(20))


def _checksum(prefix: str, symbols: Sequence[int]) -> int:
    """Return the remainder of BIP-350: ``_BECH32M`` for symbols with a valid checksum."""
    letters = prefix.encode()
    remainder = 1
    for symbol in (*(c >> 5 for c in letters), 0, *(c & 31 for c in letters), *symbols):
        remainder = (remainder & 0x1FFFFFF) << 5 ^ symbol ^ _FOLDS[remainder >> 25]
    return remainder


def bech32m_encode(prefix: str, symbols: Sequence[int]) -> str:
    """Write symbols of five bits with their checksum, after BIP-350."""
    checksum = _checksum(prefix, (*symbols, 0, 0, 0, 0, 0, 0)) ^ _BECH32M
    tail = (checksum >> shift & 31 for shift in range(25, -1, -5))
    return prefix + "1" + "".join(_ALPHABET[symbol] for symbol in (*symbols, *tail))


def bech32m_decode(text: str) -> tuple[str, list[int]]:
    """Read the prefix and the symbols of a bech32m string, after BIP-350.

    Raises
    ------
    AddressInvalid
        Not bech32m; ``message`` says why.
    """

    def invalid(message: str) -> errors.AddressInvalid:
        return errors.AddressInvalid(text=text[:96], message=message)

    if len(text) > 90:
        raise invalid("it is too long")
    if not all("!" <= character <= "~" for character in text):
        raise invalid("it holds a character that no address has")
    if text.lower() != text and text.upper() != text:
        raise invalid("write it in lower case throughout")
    prefix, separator, data = text.lower().rpartition("1")
    if not separator or not prefix or len(data) < 6:
        raise invalid(f"it should be {PREFIX}1 and 38 more characters")
    strange = sorted(set(data) - _SYMBOLS.keys())
    if strange:
        raise invalid(f"no address has {strange[0]!r} in it")
    symbols = [_SYMBOLS[letter] for letter in data]
    if _checksum(prefix, symbols) != _BECH32M:
        raise invalid("it is mistyped: its checksum does not fit")
    return prefix, symbols[:-6]
