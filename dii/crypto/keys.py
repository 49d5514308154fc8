"""Keys that sign, and the encrypted files that keep them.

A key is a seed of 32 bytes (RFC 8032). Its file is a record in the codec's form: the public key
in clear, so that a wallet can be listed without a password, and the seed sealed with AES-256-GCM
under a key that scrypt (RFC 7914) makes of the password; what stands in clear is sealed with it.
A checksum at the end tells a damaged file from a wrong password, which GCM alone cannot.

Only the cost of scrypt is in the file, and bounded before it is used: a crafted file must not
make its reader allocate gigabytes. PKCS#8 was rejected: its parameters are open-ended, and its
usual ciphers leave the public key unauthenticated.

A file appears whole or not at all, and never in place of another: a lost key is lost money.
"""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from dii import codec, files
from dii.codec import Bounds, PublicKey
from dii.crypto.address import address_of, format_address, sha256
from dii.errors import (
    CodecError,
    KeyFileExists,
    KeyFileInvalid,
    KeyInvalid,
    ShapeMismatch,
    WrongPassword,
)

if TYPE_CHECKING:
    from Crypto.Cipher._mode_gcm import GcmMode

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
            raise KeyInvalid(what="seed", length=len(seed))
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

        Anybody who knows or guesses the network's seed can derive it again: it must never hold
        anything of value.
        """
        return cls(sha256(b"dii/laboratory/1\0" + codec.encode((seed, name))))

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature; about 5,000 a second."""
        return self._scheme.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({format_address(self.address)})"


@dataclass(frozen=True, slots=True)
class _Clear:
    """What a key file says to everyone."""

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
        Where; its folder exists, the file does not.
    key, password
        What is kept, and what opens it again.
    cost
        Binary logarithm of scrypt's N, at most ``MAX_COST``.

    Raises
    ------
    KeyFileExists
        There is a file already; it is left as it was.
    KeyFileInvalid
        It cannot be written there.
    """
    clear = _Clear(1, key.public_key, cost, secrets.token_bytes(16))
    nonce = secrets.token_bytes(12)
    sealed, tag = _cipher(clear, nonce, password).encrypt_and_digest(key._seed)
    data = codec.dumps(_KeyFile(clear, nonce, sealed, tag))
    try:
        files.write(path, data + sha256(data), secret=True, new=True)
    except FileExistsError:
        raise KeyFileExists(path=path) from None
    except OSError as error:
        raise KeyFileInvalid(path=path, message=error.strerror) from error


def load_key(path: Path, password: str) -> SigningKey:
    """Open a key file.

    Raises
    ------
    WrongPassword
        The file is sound, and another password opens it.
    KeyFileInvalid
        Missing, damaged, no key file, or open to other users.
    """
    file = _read(path)
    if not files.is_private(path):
        raise KeyFileInvalid(path=path, message="other users may read it; run chmod 600 on it")
    try:
        seed = _cipher(file.clear, file.nonce, password).decrypt_and_verify(file.sealed, file.tag)
    except ValueError:
        raise WrongPassword(path=path) from None
    return SigningKey(seed)


def public_key_of(path: Path) -> bytes:
    """Return the public key in a key file, which takes no password.

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
        raise KeyFileInvalid(path=path, message="there is no such file") from None
    except OSError as error:
        raise KeyFileInvalid(path=path, message=error.strerror) from error
    data, checksum = raw[:-32], raw[-32:]
    if sha256(data) != checksum:
        raise KeyFileInvalid(path=path, message="it is damaged, or no key file")
    try:
        return codec.loads(_KeyFile, data)
    except (CodecError, ShapeMismatch) as error:
        raise KeyFileInvalid(path=path, message=error) from None
