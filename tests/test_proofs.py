"""Proofs: each kind is valid elsewhere, no forged one is, and two checkers agree."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dii import Network, codec, load, minting
from dii.application.records import (
    ACCOUNTS,
    FORWARDS,
    GATEWAYS,
    ISSUANCES,
    ORIGIN,
    SUPPLY,
    TABLES,
    Origin,
)
from dii.cli import app
from dii.cli.screen import plain
from dii.consensus.head import Head
from dii.crypto import format_address
from dii.errors import ProofInvalid
from dii.ledger import log
from dii.ledger.proof import Proof
from dii.ledger.state import State
from dii.minting import Issuance, ReceiptLeaf, Spec
from dii.network import proofs
from dii.network.receipt import NoReceiptProof, ReceiptProof, no_receipt
from tests.proofs import CHECKER, PAGE
from tests.require import ROOT


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """A network with two epochs settled, in one of which uplinks name no gateway."""
    names = ("registry.json", "uplinks.jsonl", "statuses.csv")
    with Network.create("ttn", seed=7, allocations={"bob": "500 TTC"}) as opened:
        opened.ingest(load(*(ROOT / "data" / name for name in names)))
        opened.run(epochs=2)
        opened.claim("linden-lab", "bob")
        yield opened


def between(network: Network, epoch: int, place: float) -> str:
    """Return the hash of no gateway, between the receipts of an epoch: 0 lies before all."""
    hashes = [leaf.gateway for leaf in leaves(network, epoch)]
    if place == 1:
        return (b"\xff" * 20).hex()
    return (int.from_bytes(hashes[int(place * len(hashes))]) + 1).to_bytes(20).hex()


def leaves(network: Network, epoch: int) -> list[ReceiptLeaf]:
    query = "SELECT leaf FROM receipts WHERE epoch = ? ORDER BY position"
    return [codec.loads(ReceiptLeaf, leaf) for (leaf,) in network.view.index.query(query, (epoch,))]


def receipt_at(network: Network, place: int) -> Any:
    return network.receipt(leaves(network, 1)[place].gateway.hex(), 1).proof


MADE: dict[str, Callable[[Network], Any]] = {
    "account": lambda net: net.proof_of(ACCOUNTS, net.home.address("bob")),
    "no account": lambda net: net.proof_of(ACCOUNTS, bytes(range(20))),
    "forward": lambda net: net.proof_of(FORWARDS, net.home.claim_account("linden-lab")),
    "no forward": lambda net: net.proof_of(FORWARDS, net.home.address("bob")),
    "gateway": lambda net: net.proof_of(GATEWAYS, "main", leaves(net, 1)[7].gateway),
    "no gateway": lambda net: net.proof_of(GATEWAYS, "other", bytes(range(20))),
    "issuance": lambda net: net.proof_of(ISSUANCES, "main", 1),
    "supply": lambda net: net.proof_of(SUPPLY),
    "receipt": lambda net: receipt_at(net, 20),
    "first receipt": lambda net: receipt_at(net, 0),
    "last receipt": lambda net: receipt_at(net, -1),
    "no receipt": lambda net: no_receipt(net, between(net, 1, 0.5), 1),
    "no receipt at the beginning": lambda net: no_receipt(net, between(net, 1, 0), 1),
    "no receipt at the end": lambda net: no_receipt(net, between(net, 1, 1), 1),
}
"""One of every kind of proof."""


@pytest.fixture(scope="module")
def files(network: Network) -> dict[str, str]:
    """Files that ``dii proof make`` writes, by kind."""
    return {
        kind: json.dumps(make(network).to_json(), indent=1) + "\n" for kind, make in MADE.items()
    }


def ours(data: bytes, header: bytes) -> dict[str, Any] | None:
    """Return the content proven by ``dii proof check``, or None."""
    try:
        return dict(plain(proofs.check(data, header)[0]))
    except ProofInvalid:
        return None


def theirs(data: bytes, header: bytes) -> dict[str, Any] | None:
    """Return the content proven by the page of Python, or None."""
    try:
        proven: dict[str, Any] = PAGE["check"](data, header)
    except Exception:  # noqa: BLE001 - as its main does
        return None
    return proven


def agreed(data: bytes, header: bytes) -> bool:
    """Return the result of both checkers."""
    verdict = theirs(data, header) is not None
    assert (ours(data, header) is not None) is verdict
    return verdict


@pytest.mark.parametrize("kind", MADE)
def test_every_kind_of_proof_holds_elsewhere_with_nothing_of_ours(
    kind: str, network: Network, files: dict[str, str], tmp_path: Path
) -> None:
    path, header = tmp_path / "a.proof", network.header().hash
    path.write_text(files[kind])
    run = subprocess.run(
        [sys.executable, "-I", "-S", CHECKER, path, header.hex()],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    printed, proven = json.loads(run.stdout), ours(files[kind].encode(), header)
    assert proven is not None
    assert printed["holds"] is True
    assert (printed["chain"], printed["height"]) == (network.genesis.hash.hex(), network.height)
    # Every value that both print is the same, and they print the same things.
    renamed = {"dust_before": "carried", "root": None, "dust_after": None, "key": None}
    for name, value in printed.items():
        ours_ = renamed.get(name, name)
        if ours_ in proven and name not in {"rule", "policy", "owners"}:
            assert proven[ours_] == value, name
    said = {
        "present",
        "balance",
        "to",
        "owners",
        "amount",
        "weight",
        "payee",
        "metrics",
        "receipts",
    }
    if proven["kind"] == "receipt" and "amount" in proven:
        said -= {"present"}
    assert said & proven.keys() == said & printed.keys() - ({"metrics"} & {proven["kind"]})
    assert ("no " in kind) is (printed.get("present") is False)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("account", "bob"), ("forward", "linden-lab"), ("gateway", None), ("receipt", None)],
)
def test_proofs_are_made_by_kind_and_name(kind: str, name: str | None, network: Network) -> None:
    name, epoch = name or leaves(network, 1)[7].gateway.hex(), 1 if kind == "receipt" else None
    proof = network.prove(kind, name, epoch=epoch)
    assert proof == (MADE[kind](network) if epoch is None else receipt_at(network, 7))
    data, header = json.dumps(proof.to_json()).encode(), network.header()
    assert proofs.check(data, header.hash)[1] == header
    for other in ("nothing", "receipt"):  # a receipt needs an epoch
        with pytest.raises(ValueError, match="receipt with its epoch"):
            network.prove(other, name)


@pytest.mark.parametrize("kind", MADE)
def test_the_page_refuses_in_one_line_what_was_changed(
    kind: str, network: Network, files: dict[str, str], tmp_path: Path
) -> None:
    path, header = tmp_path / "a.proof", network.header().hash.hex()
    middle = files[kind].index('"key"') + 20
    path.write_text(files[kind][:middle] + files[kind][middle:].swapcase())
    refused, unread = (1, "NOT PROVEN: "), (2, "cannot be read: ")
    usage = 2, "usage: python check_proof.py FILE HEADER_HASH"
    for words, (code, begins) in {
        (path, header): refused, (path, ""): refused, (path, "x"): refused,
        (tmp_path / "none", header): unread, (tmp_path, header): unread,
        (): usage, (path,): usage, (path, header, "more"): usage,
    }.items():  # fmt: skip
        run = subprocess.run(
            [sys.executable, "-I", "-S", CHECKER, *words], capture_output=True, text=True
        )
        assert (run.returncode, run.stdout) == (code, "")
        assert run.stderr.startswith(begins)
        assert run.stderr.count("\n") == 1


@settings(max_examples=300)
@given(st.sampled_from(list(MADE)), st.data())
def test_no_byte_of_a_proof_can_be_changed(
    network: Network, files: dict[str, str], kind: str, data: st.DataObject
) -> None:
    header, whole = network.header().hash, files[kind].encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    changed = whole[:at] + bytes([byte]) + whole[at + 1 :]
    # A space more or less is no change: the two files are one JSON document.
    if agreed(changed, header):
        assert json.loads(changed) == json.loads(whole)
        assert bytes([byte, whole[at]]).isspace()


def ways(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in a JSON document."""
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield (*path, key)
            yield from ways(value, (*path, key))


SOMETHING = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**70), st.floats(), st.text(max_size=3),
    st.binary(max_size=33).map(bytes.hex), st.lists(st.none(), max_size=1),
    st.dictionaries(st.sampled_from(["leaf", "key"]), st.none(), max_size=1),
)  # fmt: skip


@settings(max_examples=300)
@given(st.sampled_from(list(MADE)), st.sampled_from(list(MADE)), st.data())
def test_no_field_of_a_proof_can_be_changed_left_out_or_added(
    network: Network, files: dict[str, str], kind: str, donor: str, data: st.DataObject
) -> None:
    header, whole, other = network.header().hash, files[kind], json.loads(files[donor])
    content = json.loads(whole)
    *way, last = data.draw(st.sampled_from(list(ways(content))))
    inner: Any = content
    for step in way:
        inner, other = inner[step], other[step] if donor == kind else other
    match data.draw(st.sampled_from(["change", "drop", "add", "repeat", "transplant"])):
        case "change":
            inner[last] = data.draw(SOMETHING)
        case "drop":
            del inner[last]
        case "add" if isinstance(inner, dict):
            inner[data.draw(st.text(max_size=5))] = data.draw(SOMETHING)
        case "repeat" if isinstance(inner, list):
            inner.insert(last, inner[last])
        case _ if last in other if isinstance(other, dict) else False:
            inner[last] = other[last]
    changed = json.dumps(content).encode()
    if agreed(changed, header):  # then it is as it was, or proves what another file proves
        assert content in [json.loads(file) for file in files.values()]


@pytest.mark.parametrize("kind", MADE)
def test_a_proof_holds_under_its_own_header_only(
    kind: str, network: Network, files: dict[str, str]
) -> None:
    data, header = files[kind].encode(), network.header()
    assert agreed(data, header.hash)
    assert not agreed(data, header.previous)
    assert not agreed(data, bytes(32))


def test_the_page_knows_the_fields_of_the_records() -> None:
    records = {table.name: table.shape for table in TABLES} | {"receipt": ReceiptLeaf}
    for name, names in PAGE["RECORDS"].items():
        assert names.split() == [field.name for field in fields(records[name])], name
        amounts = {
            field.name for field in fields(records[name]) if field.type in ("Amount", "Held")
        }
        assert amounts == PAGE["AMOUNTS"] & set(names.split()), name


@given(st.binary(min_size=20, max_size=20))
def test_the_page_writes_addresses_as_we_do(address: bytes) -> None:
    assert PAGE["address"](address) == format_address(address)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**64), 2**64 - 1), st.binary(), st.text()),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=9,
)


@given(values)
def test_the_page_reads_what_the_codec_writes(value: Any) -> None:
    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    assert PAGE["decode"](codec.encode(frozen(value))) == value


@settings(max_examples=500)
@given(st.binary(max_size=12))
def test_the_page_reads_nothing_that_the_codec_refuses(data: bytes) -> None:
    def verdict(read: Callable[[bytes], Any]) -> bool:
        try:
            read(data)
        except Exception:  # noqa: BLE001 - each has its own
            return False
        return True

    assert verdict(PAGE["decode"]) is verdict(codec.decode)


# --- the absence of a receipt --------------------------------------------------------------------

HASH = st.binary(min_size=20, max_size=20)


def issued(gateways: list[bytes]) -> tuple[list[ReceiptProof], Proof, bytes]:
    """Return the receipts of some gateways, the proof of their issuance, and its header's hash."""
    leaves = [codec.dumps(ReceiptLeaf(one, bytes(20), 1, 1, 0, ())) for one in gateways]
    spec = Spec("Uptime", 1, ())
    issuance = Issuance(
        "main", spec, spec, (), 1, 1, 0, 0, 1, 0, 0, len(leaves), log.root_of(leaves)
    )
    state = State()
    state.put(ISSUANCES, issuance, "main", 3)
    state.put(ORIGIN, Origin("n", "TTC", 6, laboratory=True, generated=None))
    state.put(SUPPLY, codec.loads(SUPPLY.shape, codec.encode((b"\1", b""))))
    state.commit()
    head = Head(bytes(32), None, state.committed_root, {}, {})
    header = head.block(1, (), bytes(32), ()).header
    key = ISSUANCES.key("main", 3)
    proof = Proof.of(header, state, key)
    receipts = [
        ReceiptProof(leaf, at, log.prove(leaves, at), proof) for at, leaf in enumerate(leaves)
    ]
    return receipts, proof, header.hash


@settings(max_examples=50)
@given(st.sets(HASH, max_size=4), st.data())
def test_a_gateway_has_no_receipt_exactly_if_neighbours_can_be_found_that_prove_it(
    others: set[bytes], data: st.DataObject
) -> None:
    gateways = sorted(others)
    gateway = data.draw(st.one_of(HASH, st.sampled_from(gateways or [bytes(20)])))
    receipts, proof, header = issued(gateways)
    pairs = [(), *((one,) for one in receipts), *((a, b) for a in receipts for b in receipts)]
    absent = [NoReceiptProof(gateway, pair, proof) for pair in pairs]
    held = [agreed(json.dumps(one.to_json()).encode(), header) for one in absent]
    assert any(held) is (gateway not in gateways)


def test_neighbours_of_another_epoch_prove_nothing(network: Network) -> None:
    header, gateway = network.header().hash, between(network, 1, 0.5)
    one, other = (no_receipt(network, gateway, epoch) for epoch in (1, 0))
    one.verify(header)
    mixed = dataclasses.replace(one, neighbours=(one.neighbours[0], other.neighbours[1]))
    with pytest.raises(ProofInvalid):
        mixed.verify(header)


def test_absence_is_what_make_makes_where_there_is_no_receipt(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Network.create(seed=7, home=home, rule=minting.Uptime()) as network:
        network.ingest(load(ROOT / "data" / "registry.json", ROOT / "data" / "statuses.csv"))
        network.run(epochs=1)
        header, most = network.header().hash, leaves(network, 0)[0].gateway
    first = (int.from_bytes(most) - 1).to_bytes(20).hex()
    path = tmp_path / "a.proof"
    words = ["proof", "make", "receipt", first, "--epoch", "0", "-o", path, "--home", home]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert "that there is none" in result.stdout
    proven = ours(path.read_bytes(), header)
    assert proven is not None
    assert (proven["gateway"], proven["present"]) == (first, False)
    assert len(json.loads(path.read_text())["neighbours"]) == 1


def test_owners_of_claim_accounts_and_applications_can_be_proven(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Network.create(seed=7, home=home, allocations={"bob": "500 TTC"}) as network:
        network.ingest(load(ROOT / "data" / "registry.json", ROOT / "data" / "uplinks.jsonl"))
        network.claim("north-iot", "bob")
        application = next(iter(network.home.names("application").values()))
        network.register_application(application, "bob")
        header, bob = network.header().hash, format_address(network.home.address("bob"))

    def made(*words: str) -> dict[str, Any]:
        path = tmp_path / "a.proof"
        command = ["proof", "make", *words, "-o", str(path), "--home", str(home)]
        assert CliRunner().invoke(app, command).exit_code == 0
        proven, found = ours(path.read_bytes(), header), theirs(path.read_bytes(), header)
        assert proven is not None
        assert found is not None
        assert found.get("to") == proven.get("to")
        return proven

    forward = made("forward", "north-iot")
    assert (forward["to"], forward["present"]) == (bob, True)
    assert made("forward", forward["key"][0]) == forward
    assert made("forward", "linden-lab")["present"] is False
    assert list(made("application", application)["owners"].values()) == [bob]
    for kind, name, says in (
        ("forward", "nobody", "no operator goes by 'nobody'"),
        ("application", "nothing", "no application goes by 'nothing'"),
    ):
        result = CliRunner().invoke(app, ["proof", "make", kind, name, "--home", str(home)])
        assert (result.exit_code, says in result.output) == (1, True)
