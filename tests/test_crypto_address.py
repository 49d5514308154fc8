"""Addresses and keyed hashes: published vectors, every typing error, domains kept apart."""

from __future__ import annotations

import hashlib
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii import crypto
from dii.crypto.address import KINDS, bech32m_decode, bech32m_encode
from dii.errors import AddressInvalid, KeyInvalid

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
ADDRESSES = st.binary(min_size=20, max_size=20)

# BIP-350, "Test vectors for Bech32m"
VALID = [
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
]
INVALID = [
    "\x201xj0phk",
    "\x7f1g6xzxy",
    "\x801vctc34",
    "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
    "qyrz8wqd2c9m",
    "1qyrz8wqd2c9m",
    "y1b0jsk6g",
    "lt1igcx5c0",
    "in1muywd",
    "mm1crxm3i",
    "au1s5cgom",
    "M1VUXWEZ",
    "16plkw9",
    "1p2gdwpf",
]


@pytest.mark.parametrize("text", VALID)
def test_the_valid_vectors_of_bip_350_are_read_and_written_again(text: str) -> None:
    prefix, symbols = bech32m_decode(text)
    assert bech32m_encode(prefix, symbols) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_the_invalid_vectors_of_bip_350_are_refused(text: str) -> None:
    with pytest.raises(AddressInvalid):
        bech32m_decode(text)


def test_bech32_of_bip_173_is_not_bech32m() -> None:
    with pytest.raises(AddressInvalid, match="mistyped"):
        bech32m_decode("A12UEL5L")


@given(ADDRESSES)
def test_an_address_shown_is_read_as_the_same_address(address: bytes) -> None:
    text = crypto.format_address(address)
    assert len(text) == 42
    assert text.startswith("dii1")
    assert text.islower()
    assert crypto.parse_address(text) == address
    assert crypto.parse_address(text.upper()) == address


def test_every_single_wrong_character_is_noticed() -> None:
    text = crypto.format_address(crypto.sha256(b"someone")[:20])
    for at in range(4, len(text)):
        for letter in set(ALPHABET) - {text[at]}:
            with pytest.raises(AddressInvalid, match="mistyped"):
                crypto.parse_address(text[:at] + letter + text[at + 1 :])


def test_up_to_four_wrong_characters_are_noticed() -> None:
    draw = random.Random(350)
    for _ in range(3_000):
        address = draw.randbytes(20)
        letters = list(crypto.format_address(address))
        for at in draw.sample(range(4, 42), draw.randint(2, 4)):
            letters[at] = draw.choice([letter for letter in ALPHABET if letter != letters[at]])
        with pytest.raises(AddressInvalid, match="mistyped"):
            crypto.parse_address("".join(letters))


@given(ADDRESSES)
def test_neighbours_exchanged_and_letters_lost_or_doubled_are_noticed(address: bytes) -> None:
    text = crypto.format_address(address)
    wrong = {text[:at] + text[at + 1 :] for at in range(42)}
    wrong |= {text[:at] + text[at] + text[at:] for at in range(42)}
    wrong |= {text[:at] + b + a + text[at + 2 :] for at, (a, b) in enumerate(pairwise(text))}
    for mistyped in wrong - {text}:
        with pytest.raises(AddressInvalid):
            crypto.parse_address(mistyped)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (bech32m_encode("bc", [0] * 32), "begin with dii1"),
        (bech32m_encode("dii", [0] * 31), "42 characters"),
        (bech32m_encode("dii", [0] * 33), "42 characters"),
        ("dii1" + "q" * 500, "too long"),
        ("Dii1qqqqqqqq", "lower case"),
        ("dii1qqqqqqqé", "a character that no address has"),
        ("dii1bqqqqqqq", "'b'"),
        ("bob", "it should be dii1 and 38 more"),
        ("", "it should be dii1 and 38 more"),
        ("dii1qqqq", "it should be dii1 and 38 more"),
    ],
)
def test_an_invalid_address_says_why(text: str, reason: str) -> None:
    with pytest.raises(AddressInvalid, match=reason):
        crypto.parse_address(text)


@given(st.text(max_size=60))
def test_reading_an_address_fails_in_one_way_only(text: str) -> None:
    with pytest.raises(AddressInvalid):
        crypto.parse_address(text)


def test_addresses_are_what_the_protocol_says() -> None:
    # RFC 8032, section 7.1, test 1; digests by `printf ... | sha256sum`. A change here would
    # leave every account's money at an address that nobody has.
    key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    address = crypto.address_of(key)
    assert address.hex() == "21fe31dfa154a261626bf854046fd2271b7bed4b"
    assert crypto.format_address(address) == "dii1y8lrrhap2j3xzcntlp2qgm7jyudhhm2tvxmg0e"
    assert crypto.contract_address(address, 1).hex() == "44c0e13526dbee8d313e87729ab48a47c542411f"
    assert crypto.claim_address("main", address).hex() == "ab588c0b9e3e392c9082cc31aa87f49a1201cc40"


@given(st.lists(st.tuples(ADDRESSES, st.integers(0, 2**63 - 1)), min_size=2, unique=True))
def test_accounts_of_different_kinds_or_origins_never_share_an_address(
    origins: list[tuple[bytes, int]],
) -> None:
    addresses = [crypto.contract_address(*origin) for origin in origins]
    operators = {who for who, _ in origins}
    addresses += [crypto.claim_address(scope, who) for scope in ("a", "ab") for who in operators]
    assert len(set(addresses)) == len(addresses)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """RFC 2104, written out."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


@given(st.binary(min_size=32, max_size=32), st.sampled_from(KINDS), st.text(max_size=40))
def test_a_keyed_hash_is_a_truncated_hmac(key: bytes, kind: str, identifier: str) -> None:
    message = kind.encode() + b"\0" + identifier.encode()
    assert crypto.keyed_hash(key, kind, identifier) == hmac_sha256(key, message)[:20]


def test_keyed_hashes_differ_by_key_kind_and_identifier() -> None:
    keys = [bytes((n,)) * 32 for n in range(3)]
    names = ["", "A", "\0A", "gateway", "gateway\0A"]
    hashes = {
        crypto.keyed_hash(key, kind, name) for key in keys for kind in KINDS for name in names
    }
    assert len(hashes) == len(keys) * len(KINDS) * len(names)


def test_a_keyed_hash_takes_a_whole_key_and_a_known_kind() -> None:
    for length in (0, 31, 33, 64):
        with pytest.raises(KeyInvalid, match=f"32 bytes, this one has {length}"):
            crypto.keyed_hash(b"k" * length, "gateway", "A")
    with pytest.raises(ValueError, match="gate has no keyed hash"):
        crypto.keyed_hash(b"k" * 32, "gate", "A")
