"""Home directory of a network: the files of one community on one machine.

    genesis.toml      the sealed genesis (draft.toml before the first telemetry)
    chain.sqlite      blocks and state diffs: the truth
    index.sqlite      tables to query; can be rebuilt
    consensus.sqlite  steps of simulated validators, if they made the chain
    telemetry/        loaded records, as Parquet
    keys/             encrypted key files, and the network key
    names.sqlite      names of accounts and gateways: erasable, never on the chain

A home that lives in memory has the same parts and no folder. Keys come from the operating system;
only a laboratory network derives them from its seed, and says so in its genesis.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sqlite3
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import tomli_w

from dii import codec, crypto, errors
from dii.application.records import MAX_REPORTERS
from dii.files import is_private, write
from dii.genesis import MAX_VALIDATORS, TREASURY, Genesis
from dii.ledger.store import connect, why
from dii.telemetry.readers.fields import gateway_name

GENESIS: Final = "genesis.toml"
DRAFT: Final = "draft.toml"
KEYS: Final = "keys"
SEED: Final = "seed"
NAMES: Final = "names.sqlite"
CONSENSUS: Final = "consensus.sqlite"
NETWORK_KEY: Final = "network"
PASSPHRASE_FILE: Final = "passphrase"  # noqa: S105 - a file name
PASSWORD_VARIABLE: Final = "DII_PASSWORD"  # noqa: S105 - a variable name

_ADDRESS: Final = re.compile("dii1[0-9a-z]{38}")
_PUBLIC_KEY: Final = re.compile("[0-9a-fA-F]{64}")
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names become file names, so they are plain."""

SCOPE: Final = "main"
"""The one scope of networks that are founded here."""
STREAM: Final = "main"
"""The stream that a network begins with."""


def numbered(name: str, count: int) -> list[str]:
    """Return the names of ``count`` keys: ``reporter``, ``reporter-2``, ..."""
    return [name, *(f"{name}-{number}" for number in range(2, count + 1))][:count]


RESERVED_NAMES: Final = {
    "treasury", *numbered("validator", MAX_VALIDATORS), *numbered("reporter", MAX_REPORTERS),
}  # fmt: skip
"""Accounts that networks have for themselves; people cannot take these names."""

_NAMES_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS names (kind TEXT, hash BLOB, name TEXT, PRIMARY KEY (kind, hash))
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS names_by_name ON names (kind, name);
"""


class Home:
    """Files, keys and names of one network.

    Parameters
    ----------
    folder
        The home directory; None keeps everything in memory (laboratory networks only).
    seed
        Derives all keys: a laboratory network. None takes keys from the operating system.
    readonly
        Write nothing, not even names: the folder may be on a file system that cannot be written.
    """

    def __init__(
        self, folder: Path | None, seed: int | None = None, *, readonly: bool = False
    ) -> None:
        self.folder = folder
        self.seed = seed
        self._readonly = readonly
        self._keys: dict[str, crypto.SigningKey] = {}
        if folder and seed is not None and self.genesis and not self.genesis.laboratory:
            message = "a seed is for laboratories, and this is no laboratory: remove the file"
            raise errors.HomeBroken(file=self._file(SEED), message=message)
        names = folder / NAMES if folder else None
        with self._using_names():
            if readonly and names and names.exists():
                self._names = connect(names, readonly=True)
                self._names.execute("SELECT * FROM names LIMIT 0")
            else:
                self._names = connect(None if readonly else names)
                self._names.execute("PRAGMA secure_delete=ON")  # what is erased is overwritten
                self._names.executescript(_NAMES_SCHEMA)
        self._network_key = self._read_network_key()

    @classmethod
    def create(cls, folder: Path | None, seed: int | None) -> Home:
        """Make a home; it counts as one once it holds a genesis or a draft.

        Raises
        ------
        HomeExists
            The folder already holds a network.
        """
        if folder is not None:
            if _is_home(folder):
                raise errors.HomeExists(folder=folder)
            (folder / CONSENSUS).unlink(missing_ok=True)  # of a creation that was interrupted
            keys = folder / KEYS
            keys.mkdir(parents=True, exist_ok=True)
            keys.chmod(0o700)
            if seed is not None:
                write(keys / SEED, str(seed).encode(), secret=True)
            else:
                (keys / SEED).unlink(missing_ok=True)
                if not (keys / NETWORK_KEY).exists():
                    write(keys / NETWORK_KEY, secrets.token_bytes(32).hex().encode(), secret=True)
        return cls(folder, seed)

    @classmethod
    def open(cls, folder: Path, *, readonly: bool = False) -> Home:
        """Open an existing home, to write to it or to look only.

        Raises
        ------
        HomeMissing
            The folder holds no network.
        HomeBroken
            A file of it is damaged, or a secret file is open to other users.
        """
        if not _is_home(folder):
            raise errors.HomeMissing(folder=folder)
        path, seed = folder / KEYS / SEED, None
        if path.exists():
            with _sound(path):
                seed = int(path.read_text())
        return cls(folder, seed, readonly=readonly)

    def _file(self, name: str) -> Path:
        """Return the path of a file with a key or a secret."""
        assert self.folder is not None, "only laboratory networks live in memory"
        return self.folder / KEYS / name

    # --- genesis ------------------------------------------------------------------------------

    @cached_property
    def draft(self) -> dict[str, Any] | None:
        """Draft of a genesis that is not sealed yet."""
        path = self.folder and self.folder / DRAFT
        if not path or not path.exists():
            return None
        with _sound(path):
            return tomllib.loads(path.read_text())

    @cached_property
    def genesis(self) -> Genesis | None:
        """The sealed genesis, if there is one."""
        path = self.folder and self.folder / GENESIS
        return Genesis.load(path) if path and path.exists() else None

    def keep_draft(self) -> None:
        """Write the draft."""
        if self.folder and self.draft is not None:
            write(self.folder / DRAFT, tomli_w.dumps(self.draft).encode())

    def seal(self, sealed: Genesis) -> None:
        """Keep the genesis, which never changes from now on."""
        self.genesis, self.draft = sealed, None
        if self.folder:
            write(self.folder / GENESIS, sealed.dump().encode())
            (self.folder / DRAFT).unlink(missing_ok=True)

    # --- keys ---------------------------------------------------------------------------------

    @property
    def network_key(self) -> bytes:
        """Key of the keyed hashes.

        Raises
        ------
        HomeBroken
            The key is gone. Another key would give every gateway a new hash, and pay into accounts
            that nobody can claim.
        """
        if self._network_key is None:
            message = "the network key is gone: put back a copy, from a backup or another reporter"
            raise errors.HomeBroken(file=self._file(NETWORK_KEY), message=message)
        return self._network_key

    @property
    def can_hash(self) -> bool:
        """True if the network key is here."""
        return self._network_key is not None

    def _read_network_key(self) -> bytes | None:
        if self.seed is not None:
            return crypto.sha256(b"dii/laboratory/network\0" + str(self.seed).encode())
        path = self._file(NETWORK_KEY)
        if not path.exists():
            return None
        text = _secret(path)
        with _sound(path):
            key = bytes.fromhex(text)
            if len(key) != 32:
                raise ValueError(f"{len(key)} bytes where a network key has 32")
        return key

    def password(self) -> str:
        """Return the password of the key files.

        ``$DII_PASSWORD``, else a passphrase that the home has made. Then anybody who can read the
        folder can use the keys; an unattended node needs that.

        Raises
        ------
        HomeBroken
            There are keys, and the passphrase is gone: a new one would open none of them. Or other
            users may read the passphrase.
        """
        given = os.environ.get(PASSWORD_VARIABLE)
        if given:
            return given
        path = self._file(PASSPHRASE_FILE)
        if not path.exists():
            if any(self._key_files()):
                message = f"no passphrase: put it back, or set {PASSWORD_VARIABLE}"
                raise errors.HomeBroken(file=path, message=message)
            write(path, secrets.token_urlsafe(24).encode(), secret=True)
        return _secret(path)

    def key(self, name: str, *, create: bool = False) -> crypto.SigningKey:
        """Return the key of an account by its name.

        Raises
        ------
        BadName
            It cannot be the name of an account with a key.
        KeyMissing
            There is none here, and ``create`` is not set.
        """
        if name not in self._keys:
            check_name(name)
            self._keys[name] = key = self._load_key(name, create=create)
            self.remember("account", {key.address: name})
        return self._keys[name]

    def _load_key(self, name: str, *, create: bool) -> crypto.SigningKey:
        if self.seed is not None:
            key = crypto.SigningKey.derive(self.seed, name)
            # A name that only a registry knows has a claim account and must not get a second one.
            if create or key.address in self.names("account"):
                return key
        elif (path := self._key_file(name)).exists():
            return crypto.load_key(path, self.password())
        elif create:
            key = crypto.SigningKey.generate()
            self._save_key(name, key)
            return key
        raise errors.KeyMissing(name=name, folder=self.folder)

    def _save_key(self, name: str, key: crypto.SigningKey) -> None:
        """Keep a key under the password of the others: a mistyped password is refused now."""
        known = self._key_file("validator")
        if known.exists() and not self._keys:
            crypto.load_key(known, self.password())
        crypto.save_key(self._key_file(name), key, self.password())

    def import_key(self, name: str, key: crypto.SigningKey) -> None:
        """Keep a key that was made elsewhere, encrypted for this home."""
        self._save_key(name, key)
        self.remember("account", {key.address: name})

    def public_keys(self, among: Collection[bytes] | None = None) -> dict[str, bytes]:
        """Return the public keys of this home's accounts by name; takes no password.

        A laboratory derives each key: ``among`` limits that to the keys of some addresses.
        """
        if self.seed is None:
            return {path.stem: crypto.public_key_of(path) for path in self._key_files()}
        names, found = self.names("account"), {}
        for address in names.keys() & (names if among is None else among):
            key = crypto.SigningKey.derive(self.seed, names[address])
            if key.address == address:
                found[names[address]] = key.public_key
        return found

    def public_key(self, key: str | bytes) -> bytes:
        """Return a public key that is given by its name here, in hex, or as it is."""
        if isinstance(key, bytes):
            return key
        return bytes.fromhex(key) if _PUBLIC_KEY.fullmatch(key) else self.key(key).public_key

    def signers(self, addresses: Collection[codec.Address]) -> list[str]:
        """Return the names of those of some accounts whose keys are here."""
        keys = self.public_keys(addresses)
        here = {crypto.address_of(key): name for name, key in keys.items()}
        return [here[one] for one in addresses if one in here]

    def key_of(self, public_key: bytes) -> crypto.SigningKey | None:
        """Return the key that belongs to a public key, if it is here."""
        found = self.signers([crypto.address_of(public_key)])
        return self.key(found[0]) if found else None

    def _key_files(self) -> Iterator[Path]:
        return self._file("").glob("*.key")

    def _key_file(self, name: str) -> Path:
        return self._file(f"{name}.key")

    # --- names --------------------------------------------------------------------------------

    def hash(self, kind: str, name: str) -> codec.KeyedHash:
        """Return the keyed hash of a gateway, an application or an operator."""
        return crypto.keyed_hash(self.network_key, kind, name)

    def claim_account(self, operator: str) -> codec.Address:
        """Return the claim account of an operator, claimed or not.

        Raises
        ------
        UnknownName
            No registry that was loaded names this operator.
        """
        address = self._claim_address(operator)
        if address not in self.names("account"):
            raise errors.UnknownName(kind="operator", name=operator)
        return address

    def operator_address(self, operator: str) -> codec.Address:
        """Return the account of an operator: the one of that name, else a claim account.

        Registries are written by strangers, so an operator never gets an account of the network.
        """
        known = None if operator in RESERVED_NAMES else self.find("account", operator)
        return codec.Address(known) if known else self._claim_address(operator)

    def _claim_address(self, operator: str) -> codec.Address:
        return crypto.claim_address(SCOPE, self.hash("operator", operator))

    def is_claim(self, operator: str | None, address: bytes) -> bool:
        """Return whether an address is the claim account of an operator's name."""
        if operator is None or self._network_key is None:
            return False
        return address == self._claim_address(operator)

    def remember(self, kind: str, names: Mapping[bytes, str]) -> None:
        """Keep names by hash or address, unless the home is read-only."""
        if not self._readonly:
            query = "INSERT OR REPLACE INTO names (kind, hash, name) VALUES (?, ?, ?)"
            with self._using_names(), self._names:
                self._names.executemany(query, [(kind, *item) for item in names.items()])

    def remember_hashed(self, kind: str, names: Iterable[str]) -> None:
        """Keep names of gateways or applications by their keyed hashes."""
        self.remember(kind, {self.hash(kind, name): name for name in names})

    def forget(self, kind: str, hash_: bytes) -> None:
        """Erase a name; the chain has only a keyed hash of it."""
        with self._using_names(), self._names:
            self._names.execute("DELETE FROM names WHERE kind = ? AND hash = ?", (kind, hash_))

    def find(self, kind: str, name: str) -> bytes | None:
        """Return the hash or address of a name; None if there is none."""
        query = "SELECT hash, name FROM names WHERE kind = ? AND name = ? ORDER BY hash"
        return next(iter(self._select(query, kind, name)), None)

    def known(self, kind: str, name: str) -> bytes:
        """Return the hash or address of a name; UnknownName if there is none."""
        found = self.find(kind, name)
        if found is None:
            raise errors.UnknownName(kind=kind, name=name)
        return found

    def names(self, kind: str) -> dict[bytes, str]:
        """Return all names of a kind by hash or address."""
        known = self._select("SELECT hash, name FROM names WHERE kind = ?", kind)
        return known | {TREASURY: "treasury"} if kind == "account" else known

    def _select(self, query: str, *parameters: str) -> dict[bytes, str]:
        with self._using_names():
            return dict(self._names.execute(query, parameters).fetchall())

    @contextlib.contextmanager
    def _using_names(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:  # damaged, locked, or on a disk that is full
            file = self.folder / NAMES if self.folder else NAMES
            raise errors.HomeBroken(file=file, message=why(error)) from error

    def address(self, who: str) -> codec.Address:
        """Return the address of an account given by name or address.

        Raises
        ------
        UnknownName
            Neither an address nor a name that is known here.
        """
        if who == "treasury":
            return TREASURY
        if who.startswith("dii1"):
            return crypto.parse_address(who)
        return codec.Address(self.known("account", who))

    def gateway(self, who: str) -> codec.GatewayHash:
        """Return the hash of a gateway given by id (an EUI in any spelling) or hash.

        Raises
        ------
        UnknownName
            No gateway of that id was loaded here.
        """
        plain = who.strip()
        for name in dict.fromkeys((plain, gateway_name(plain, "ttn"))):
            found = self.find("gateway", name)
            if found is not None:
                return codec.GatewayHash(found)
        if re.fullmatch("[0-9a-fA-F]{40}", plain):
            return codec.GatewayHash(bytes.fromhex(plain))
        raise errors.UnknownName(kind="gateway", name=who)

    def label(self, address: bytes, names: dict[bytes, str] | None = None) -> str:
        """Return an account's name, or its address where it has none."""
        known = self.names("account") if names is None else names
        return known.get(address) or crypto.format_address(address)

    def in_names(self, text: str) -> str:
        """Return a text with names in place of the addresses that have one here."""
        known = {crypto.format_address(one): name for one, name in self.names("account").items()}
        return _ADDRESS.sub(lambda found: known.get(found[0], found[0]), text)

    def close(self) -> None:
        """Close the names."""
        self._names.close()


def _is_home(folder: Path) -> bool:
    return (folder / GENESIS).exists() or (folder / DRAFT).exists()


def check_name(name: str) -> None:
    """Refuse a name that no account with a key can have (BadName)."""
    if not _KEY_NAME.fullmatch(name):
        raise errors.BadName(name=name)


def _secret(path: Path) -> str:
    """Return the text of a file that no other user may read."""
    if not is_private(path):
        raise errors.HomeBroken(file=path, message="other users may read it; run chmod 600 on it")
    with _sound(path):
        return path.read_text()


@contextlib.contextmanager
def _sound(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise errors.HomeBroken(file=path, message=f"it is damaged: {error}") from None
