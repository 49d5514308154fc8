"""Receipts and proofs of the facade, and refusal of changed ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest

from dii import Network, load
from dii.application.records import ACCOUNTS
from dii.codec import dumps
from dii.crypto import claim_address, keyed_hash
from dii.errors import ProofInvalid, ShapeMismatch
from dii.genesis import TREASURY
from dii.ledger.proof import MAX_BYTES, Proof, read_json
from dii.network import Receipt
from dii.network.receipt import ReceiptProof
from tests.require import SAMPLE


@pytest.fixture(scope="module")
def receipt(whole: Network) -> Receipt:
    return whole.receipt(whole.issuance(4).gateway[2], epoch=4)


def test_every_gateway_has_a_receipt_that_verifies_and_explains_its_amount(whole):
    table = whole.issuance(3)
    header = whole.header()
    for row in table.itertuples():
        if row.gateway == "(unattributed)":
            continue
        found = whole.receipt(row.gateway, 3)
        assert found.verify(header)
        assert found.verify(header.hash)
        assert found.verify(header.hash.hex())
        assert (found.amount, found.weight) == (row.amount_uttc, row.weight)
        assert found.metrics["shapley_uplinks"] == found.weight
        whole_pool = found.issuance.pool + found.issuance.dust_before
        assert found.amount == whole_pool * found.weight // found.issuance.total_weight
        assert whole.currency.format(found.amount) in str(found)


def test_a_receipt_is_found_by_any_spelling_of_its_gateway(whole):
    gateway = next(one for one in whole.issuance(4).gateway if len(one) == 16)
    hashed = whole.home.gateway(gateway).hex()
    spellings = [gateway, gateway.lower(), f"eui-{gateway.lower()}", f"EUI-{gateway}", hashed]
    found = [whole.receipt(one, 4) for one in spellings]
    assert {one.gateway for one in found} == {gateway}
    assert {one.leaf for one in found} == {found[0].leaf}


def test_a_receipt_does_not_verify_against_another_header(whole, receipt):
    other = replace(whole.header(), height=1)
    for wrong in (other, other.hash, other.hash.hex(), bytes(32), b"", "", "no hex"):
        with pytest.raises(ProofInvalid):
            receipt.verify(wrong)


def changed(value: Any) -> list[Any]:
    """Return values of the same type that differ."""
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, max(0, value - 1)] if value else [1]
        case str():
            return [value + "x", value[:-1]]
        case bytes():
            return [value[:-1] + bytes([value[-1] ^ 1]), value[:-1], value + b"\0"]
        case None:
            return [1]
        case tuple():
            return [value[:-1], (*value, *value[-1:]), value[::-1]]
        case _:
            return [
                replace(value, **{one.name: other})
                for one in fields(value)
                for other in changed(getattr(value, one.name))
            ]


PROVEN = ("stream", "epoch", "leaf", "issuance", "proof")


@pytest.mark.parametrize("field", PROVEN)
def test_a_receipt_with_anything_changed_is_refused(whole, receipt, field):
    header = whole.header()
    candidates = [one for one in changed(getattr(receipt, field)) if one != getattr(receipt, field)]
    assert candidates
    for candidate in candidates:
        # A header of another shape than any file can hold has no hash at all: ShapeMismatch.
        with pytest.raises((ProofInvalid, ShapeMismatch)):
            replace(receipt, **{field: candidate}).verify(header)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything within JSON."""
    if path:
        yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from places(item, (*path, key))


STRANGE = [None, True, 0, -1, 2**64, 1.5, float("inf"), "", "zz", "00", [], {}, [None], [["00"]]]


def test_a_proof_survives_its_file(whole, receipt):
    text = json.dumps(receipt.proof.to_json())
    again = ReceiptProof.from_json(read_json(text.encode()))
    assert again == receipt.proof
    assert again.verify(whole.header().hash) == (receipt.leaf, receipt.issuance)


def test_a_proof_file_with_anything_changed_is_refused(whole, receipt):
    sound, header = receipt.proof.to_json(), whole.header().hash
    tried = 0
    for path in places(sound):
        parent = sound
        for key in path[:-1]:
            parent = parent[key]
        value = parent[path[-1]]
        others = [*STRANGE]
        if isinstance(value, str):
            middle = len(value) // 2
            other = "1" if value[middle] == "0" else "0"
            others += [value[:middle] + other + value[middle + 1 :], value[:-2], value + "00"]
        if isinstance(value, int):
            others += [value + 1, str(value + 1)]
        for other in (*others, "(gone)"):
            if type(other) is type(value) and other == value:
                continue
            wrong = copy.deepcopy(sound)
            parent = wrong
            for key in path[:-1]:
                parent = parent[key]
            if other == "(gone)":
                del parent[path[-1]]
            else:
                parent[path[-1]] = other
            tried += 1
            with pytest.raises(ProofInvalid):
                ReceiptProof.from_json(wrong).verify(header)
    assert tried > 300


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"5", b"null", b'"text"', b"\xff", b"[" * 100_000, b"9" * 10_000,
     b'{"format": "dii/proof/2"}'],
)  # fmt: skip
def test_a_file_that_is_no_proof_is_a_named_error(text):
    with pytest.raises(ProofInvalid):
        ReceiptProof.from_json(read_json(text))


def test_a_huge_proof_file_is_refused_before_it_is_parsed():
    with pytest.raises(ProofInvalid, match="bytes"):
        read_json(b" " * (MAX_BYTES + 1))


def test_a_balance_and_the_absence_of_an_account_can_be_proven(whole):
    header = whole.header().hash
    proof = whole.proof_of(ACCOUNTS, TREASURY)
    Proof.from_json(json.loads(json.dumps(proof.to_json()))).verify(header)
    assert proof.value == dumps(whole.state.get(ACCOUNTS, TREASURY))
    absent = whole.proof_of(ACCOUNTS, bytes(20))
    absent = Proof.from_json(json.loads(json.dumps(absent.to_json())))
    absent.verify(header)
    assert absent.value is None
    for wrong in (
        replace(proof, value=None),
        replace(proof, value=dumps(whole.state.get(ACCOUNTS, TREASURY))[:-1]),
        replace(proof, key=absent.key),
        replace(absent, value=proof.value),
        replace(absent, key=proof.key),
    ):
        with pytest.raises(ProofInvalid):
            wrong.verify(header)


def test_a_proof_of_one_stream_or_epoch_is_none_of_another(whole, receipt):
    other = whole.receipt(receipt.gateway, epoch=5)
    for wrong in (replace(receipt, proof=other.proof), replace(receipt, epoch=5)):
        with pytest.raises(ProofInvalid):
            wrong.verify(whole.header())


def test_names_and_keys_do_not_stand_on_the_chain(whole):
    """Keyed hashes only: without the network key a name cannot be linked to its account."""
    names = [name for name in whole.home.names("account").values() if "-" in name]
    ids = [name for name in whole.home.names("gateway").values() if len(name) == 16]
    applications = list(whole.home.names("application").values())
    stored = b"".join(diff + block for _, diff, _, block, _ in whole.view.store.blocks())
    assert names
    assert ids
    assert applications
    for name in (*names, *ids, *applications):
        assert name.encode() not in stored
    for plain in ids:
        assert bytes.fromhex(plain) not in stored
    hashed = keyed_hash(whole.home.network_key, "operator", "north-iot")
    assert claim_address("main", hashed) in stored
    assert whole.home.network_key not in stored


def test_players_who_stand_together_count_as_one_where_the_genesis_says_so() -> None:
    paid = []
    for radius in (0, 2_000):
        with Network.create("ttn", seed=7, site_radius_m=radius) as network:
            network.ingest(load(*SAMPLE))
            assert network.genesis.scopes[0].site_radius_m == radius
            network.run(epochs=1)
            paid.append(network.issuance(0).set_index("gateway")["weight"].to_dict())
            network.verify()
    apart, together = paid
    assert apart != together
    assert sum(together.values()) == sum(apart.values())  # the same uplinks, divided otherwise
