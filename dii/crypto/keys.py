"""Keys that sign, and the encrypted files that keep them.

A key is a seed of 32 bytes (RFC 8032). Its file is a record in the codec's CBOR: the public key in
clear, so that keys can be listed without a password, and the seed encrypted with AES-256-GCM under
a key that scrypt (RFC 7914) derives from the password; the part in clear is authenticated with it.
A checksum at the end tells a damaged file from a wrong password, which GCM alone cannot.

The file holds the cost of scrypt, which is bounded before it is used: a crafted file must not make
its reader allocate gigabytes. PKCS#8 was rejected: its parameters are open-ended, and its usual
ciphers leave the public key unauthenticated.

A file is written whole or not at all, and never replaces another: a lost key is lost money.
"""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from dii import codec, errors, files
from dii.codec import Bounds, PublicKey
from dii.crypto.address import address_of, format_address, sha256

if TYPE_CHECKING:
    from Crypto.Cipher._mode_gcm import GcmMode

__all__ = ["SigningKey", "load_key", "public_key_of", "save_key"]

COST: Final = 17
"""Binary logarithm of scrypt's N: 128 MiB and a quarter of a second (OWASP's recommendation)."""
MAX_COST: Final = 18
_MAX_FILE: Final = 512


class SigningKey:
    """An Ed25519 key that signs; signatures are deterministic (RFC 8032).

    Parameters
    ----------
    seed
        32 secret bytes.

    Attributes
    ----------
    public_key
        32 bytes.
    address
        The 20 bytes of the key's account.

    Raises
    ------
    KeyInvalid
        The seed is not of 32 bytes.
    """

    __slots__ = ("_scheme", "_seed", "address", "public_key")

    def __init__(self, seed: bytes) -> None:
        from Crypto.Signature import eddsa  # noqa: PLC0415

        if len(seed) != 32:
            raise errors.KeyInvalid(what="seed", length=len(seed))
        self._seed = seed
        key = eddsa.import_private_key(seed)
        self._scheme = eddsa.new(key, "rfc8032")
        self.public_key = bytes(key.public_key().export_key(format="raw"))
        self.address = address_of(self.public_key)

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a new key from the operating system's randomness."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def derive(cls, seed: int, name: str) -> SigningKey:
        """Return the key of an account of a *laboratory* network.

        Knowing or guessing the network's seed is enough to derive it: such a key must never
        hold anything of value.
        """
        return cls(sha256(b"dii/laboratory/1\0" + codec.encode((seed, name))))

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature; about 5,000 a second."""
        return self._scheme.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({format_address(self.address)})"


@dataclass(frozen=True, slots=True)
class _Clear:
    """The part of a key file that can be read without a password."""

    version: Annotated[int, Bounds(1, 1)]
    public_key: PublicKey
    cost: Annotated[int, Bounds(1, MAX_COST)]
    salt: Annotated[bytes, Bounds(16, 16)]


@dataclass(frozen=True, slots=True)
class _KeyFile:
    clear: _Clear
    nonce: Annotated[bytes, Bounds(12, 12)]
    sealed: Annotated[bytes, Bounds(32, 32)]
    tag: Annotated[bytes, Bounds(16, 16)]


def save_key(path: Path, key: SigningKey, password: str, *, cost: int = COST) -> None:
    """Write a key into a new encrypted file that only its owner can read.

    Parameters
    ----------
    path
        A new file in an existing folder.
    key, password
        The key, and the password that opens the file again.
    cost
        Binary logarithm of scrypt's N, at most ``MAX_COST``.

    Raises
    ------
    KeyFileExists
        There is a file already; it is unchanged.
    KeyFileInvalid
        The file cannot be written.
    """
    clear = _Clear(1, key.public_key, cost, secrets.token_bytes(16))
    nonce = secrets.token_bytes(12)
    sealed, tag = _cipher(clear, nonce, password).encrypt_and_digest(key._seed)
    data = codec.dumps(_KeyFile(clear, nonce, sealed, tag))
    try:
        files.write(path, data + sha256(data), secret=True, new=True)
    except FileExistsError:
        raise errors.KeyFileExists(path=path) from None
    except OSError as error:
        raise errors.KeyFileInvalid(path=path, message=error.strerror) from error


def load_key(path: Path, password: str) -> SigningKey:
    """Open a key file.

    Raises
    ------
    WrongPassword
        The file is sound, and the password is not its own.
    KeyFileInvalid
        The file is missing, damaged, not a key file, or readable by other users.
    """
    file = _read(path)
    if not files.is_private(path):
        message = "other users may read it; run chmod 600 on it"
        raise errors.KeyFileInvalid(path=path, message=message)
    try:
        seed = _cipher(file.clear, file.nonce, password).decrypt_and_verify(file.sealed, file.tag)
    except ValueError:
        raise errors.WrongPassword(path=path) from None
    return SigningKey(seed)


def public_key_of(path: Path) -> bytes:
    """Return the public key in a key file, without a password.

    Raises
    ------
    KeyFileInvalid
        Missing, damaged or no key file.
    """
    return _read(path).clear.public_key


def _cipher(clear: _Clear, nonce: bytes, password: str) -> GcmMode:
    from Crypto.Cipher import AES  # noqa: PLC0415
    from Crypto.Protocol.KDF import scrypt  # noqa: PLC0415

    header = codec.dumps(clear)  # refuses a cost out of bounds before it is spent
    # The same password typed on another keyboard may arrive as other code points (NIST SP 800-63B)
    secret = unicodedata.normalize("NFKC", password).encode(errors="surrogatepass")
    key = scrypt(secret, clear.salt, 32, N=1 << clear.cost, r=8, p=1)
    cipher = AES.new(key, AES.MODE_GCM, nonce=nonce)
    cipher.update(header)
    return cipher


def _read(path: Path) -> _KeyFile:
    try:
        raw = files.read(path, _MAX_FILE)
    except FileNotFoundError:
        raise errors.KeyFileInvalid(path=path, message="there is no such file") from None
    except OSError as error:
        raise errors.KeyFileInvalid(path=path, message=error.strerror) from error
    data, checksum = raw[:-32], raw[-32:]
    if sha256(data) != checksum:
        raise errors.KeyFileInvalid(path=path, message="it is damaged, or no key file")
    try:
        return codec.loads(_KeyFile, data)
    except (errors.CodecError, errors.ShapeMismatch) as error:
        raise errors.KeyFileInvalid(path=path, message=error) from None
