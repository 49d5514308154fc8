"""Keys and their files: opened by the password alone, whole or not there, never lost."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii import codec, crypto
from dii.crypto import SigningKey, load_key, public_key_of, save_key
from dii.errors import (
    CryptoError,
    KeyFileExists,
    KeyFileInvalid,
    KeyInvalid,
    ShapeMismatch,
    WrongPassword,
)

ROOT = Path(__file__).parents[1]
KEY = SigningKey(b"\7" * 32)
QUICK = 1
"""A cost that is too low for real keys."""


def sealed(path: Path, value: Any) -> None:
    """Write a file with a correct checksum and any content."""
    data = codec.encode(value)
    path.write_bytes(data + crypto.sha256(data))
    path.chmod(0o600)


def content(path: Path) -> Any:
    return codec.decode(path.read_bytes()[:-32])


@pytest.fixture(scope="module", autouse=True)
def quick_keys() -> None:
    """Leave the ordinary cost as it is."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_key(tmp_path / "bob.key", KEY, "correct horse", cost=QUICK)
    return tmp_path / "bob.key"


# --- keys --------------------------------------------------------------------------------------


def test_generated_keys_differ() -> None:
    keys = {SigningKey.generate().public_key for _ in range(20)}
    assert len(keys) == 20


def test_a_laboratory_key_follows_from_seed_and_name() -> None:
    # Golden: laboratory networks in notebooks and tests show these addresses.
    assert (
        SigningKey.derive(7, "bob").public_key.hex()
        == "dd6724b477c838fc359817493531b95a9beaef1ec6c9bcfca8e96526d1e06080"
    )
    keys = {
        SigningKey.derive(seed, name).public_key
        for seed in (-7, 0, 7, 77, 2**64 - 1)
        for name in ("", "bob", "7bob", "Bob", "b" * 300)
    }
    assert len(keys) == 25


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(length: int) -> None:
    with pytest.raises(KeyInvalid, match=f"this one has {length}"):
        SigningKey(b"s" * length)


def test_a_key_does_not_show_its_secret() -> None:
    seed = bytes(range(32))
    key = SigningKey(seed)
    assert repr(key) == f"SigningKey({crypto.format_address(key.address)})"
    assert key.address == crypto.address_of(key.public_key)
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(key)


# --- files -------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.binary(min_size=32, max_size=32), st.text(max_size=20))
def test_a_key_comes_back_with_its_password(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, password: str
) -> None:
    path = tmp_path_factory.mktemp("keys") / "key"
    key = SigningKey(seed)
    save_key(path, key, password, cost=QUICK)
    assert public_key_of(path) == key.public_key
    again = load_key(path, password)
    assert (again.public_key, again.sign(b"m")) == (key.public_key, key.sign(b"m"))
    with pytest.raises(WrongPassword, match=str(path)):
        load_key(path, password + "x")
    assert seed not in path.read_bytes()


def test_the_ordinary_cost_works(tmp_path: Path) -> None:
    save_key(tmp_path / "key", KEY, "password")
    assert load_key(tmp_path / "key", "password").public_key == KEY.public_key
    assert content(tmp_path / "key")[0][2] == 17


def test_the_same_password_typed_on_another_keyboard_opens_the_file(tmp_path: Path) -> None:
    save_key(tmp_path / "key", KEY, "caf\u00e9", cost=QUICK)
    assert load_key(tmp_path / "key", "cafe\u0301").public_key == KEY.public_key
    save_key(tmp_path / "key2", KEY, "\udc80", cost=QUICK)  # a byte that was no UTF-8
    assert load_key(tmp_path / "key2", "\udc80").public_key == KEY.public_key


def test_two_files_of_one_key_and_password_share_no_secret_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_key(tmp_path / name, KEY, "password", cost=QUICK)
    (clear_a, *a), (clear_b, *b) = content(tmp_path / "a"), content(tmp_path / "b")
    assert clear_a[:3] == clear_b[:3]
    assert not {clear_a[3], *a} & {clear_b[3], *b}


def test_only_the_owner_can_read_a_key_file(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o620, 0o601])
def test_a_key_file_open_to_others_is_refused_until_it_is_closed(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyFileInvalid, match="chmod 600"):
        load_key(path, "correct horse")
    assert public_key_of(path) == KEY.public_key
    path.chmod(0o600)
    assert load_key(path, "correct horse").public_key == KEY.public_key


def test_an_existing_file_is_never_replaced(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(KeyFileExists, match=r"bob\.key exists already"):
        save_key(path, SigningKey.generate(), "another", cost=QUICK)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["bob.key"]


GOLDEN = (
    "8484015820ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c01504cb1c16dc5"
    "139b81f99f54c445a927a04cb21d46d3eff08475be9b2997582067e252cf6e4e12202d26f5c7dee1f171a1ca"
    "f863b27f2db848b116d34db182165001a8e8b76c806a594313ac4ceb564555d810ef63168d7603fdde01eab6"
    "c979f4a4a7cf6dba95bf14f502b7a68b0ce8a3"
)


def test_a_file_written_by_the_first_release_opens(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes.fromhex(GOLDEN))
    (tmp_path / "key").chmod(0o600)
    assert load_key(tmp_path / "key", "correct horse").public_key == KEY.public_key


# --- damage ------------------------------------------------------------------------------------


def test_every_damaged_byte_is_noticed_and_told_from_a_wrong_password(path: Path) -> None:
    sound = path.read_bytes()
    for at in range(len(sound)):
        for bit in (1, 0x80):
            damaged = bytearray(sound)
            damaged[at] ^= bit
            path.write_bytes(damaged)
            with pytest.raises(KeyFileInvalid, match="damaged"):
                load_key(path, "correct horse")
            with pytest.raises(KeyFileInvalid, match="damaged"):
                public_key_of(path)
    path.write_bytes(sound)
    assert load_key(path, "correct horse").public_key == KEY.public_key


def test_a_changed_byte_under_a_fitting_checksum_never_yields_a_key(path: Path) -> None:
    data = path.read_bytes()[:-32]
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        path.write_bytes(changed + crypto.sha256(bytes(changed)))
        with pytest.raises((KeyFileInvalid, WrongPassword)):
            load_key(path, "correct horse")


def test_every_truncation_is_noticed(path: Path) -> None:
    sound = path.read_bytes()
    for length in range(len(sound)):
        path.write_bytes(sound[:length])
        with pytest.raises(KeyFileInvalid):
            load_key(path, "correct horse")
    path.write_bytes(sound + b"\0")
    with pytest.raises(KeyFileInvalid):
        load_key(path, "correct horse")


@pytest.mark.parametrize("cost", [0, 19, 30, 63, 2**32])
def test_a_cost_that_would_exhaust_the_machine_is_refused_before_it_is_spent(
    path: Path, cost: int
) -> None:
    (version, public_key, _, salt), *rest = content(path)
    sealed(path, ((version, public_key, cost, salt), *rest))
    with pytest.raises(KeyFileInvalid, match="from 1 to 18"):
        load_key(path, "correct horse")
    with pytest.raises(ShapeMismatch, match="from 1 to 18"):
        save_key(path.with_name("new"), KEY, "password", cost=cost)
    assert not path.with_name("new").exists()


def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    (_, *clear), *rest = content(path)
    sealed(path, ((2, *clear), *rest))
    with pytest.raises(KeyFileInvalid, match="version"):
        load_key(path, "correct horse")


def test_another_public_key_in_clear_is_noticed(path: Path) -> None:
    (version, _, *clear), *rest = content(path)
    sealed(path, ((version, SigningKey.generate().public_key, *clear), *rest))
    with pytest.raises(WrongPassword):
        load_key(path, "correct horse")


def test_a_file_that_is_no_key_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeyFileInvalid, match="no such file"):
        load_key(tmp_path / "nobody", "p")
    with pytest.raises(KeyFileInvalid, match="not a regular file"):
        load_key(tmp_path, "p")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(KeyFileInvalid, match="not a regular file"):
        public_key_of(tmp_path / "pipe")
    (tmp_path / "empty").touch(0o600)
    (tmp_path / "huge").write_bytes(bytes(10_000_000))
    for name in ("empty", "huge"):
        with pytest.raises(KeyFileInvalid, match="no key file"):
            load_key(tmp_path / name, "p")


# --- writing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", ["open", "fdopen", "fsync", "link"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        expected = KeyFileInvalid if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(expected):
            save_key(tmp_path / "key", KEY, "password", cost=QUICK)
    assert list(tmp_path.iterdir()) == []
    save_key(tmp_path / "key", KEY, "password", cost=QUICK)
    assert load_key(tmp_path / "key", "password").public_key == KEY.public_key


def test_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(CryptoError, match="No such file or directory"):
        save_key(tmp_path / "nowhere" / "key", KEY, "password", cost=QUICK)


@pytest.mark.parametrize("at", ["write", "fsync", "link", "unlink", "close"])
def test_a_process_that_dies_while_writing_leaves_the_whole_file_or_none(
    tmp_path: Path, at: str
) -> None:
    program = """
import io, os, pathlib, sys
from dii.crypto import SigningKey, save_key
key = SigningKey(bytes([7]) * 32)
save_key(pathlib.Path(sys.argv[2]) / "before", key, "password", cost=1)  # everything is imported
path = pathlib.Path(sys.argv[2]) / "key"

def die(frame, event, argument):
    name = getattr(argument, "__name__", "")
    if event == "c_call" and name == sys.argv[1]:
        os._exit(9)

sys.setprofile(die)
save_key(path, key, "password", cost=1)
"""
    result = subprocess.run(
        [sys.executable, "-c", program, at, str(tmp_path)], cwd=ROOT, check=False, timeout=60
    )
    assert result.returncode == 9
    key = tmp_path / "key"
    assert key.exists() == (at in {"unlink", "close"})
    if not key.exists():
        save_key(key, KEY, "password", cost=QUICK)
    assert load_key(key, "password").public_key == KEY.public_key
