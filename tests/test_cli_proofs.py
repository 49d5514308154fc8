"""Commands for receipts and proofs, verify and rebuild."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dii import Network
from dii.application.records import ACCOUNTS, GATEWAYS, VALIDATORS
from dii.cli import tables as look
from dii.crypto import format_address
from tests.cli import dii, read, refused
from tests.proofs import CHECKER


def test_a_receipt_explains_its_amount(home: Path, network: Network, top: str) -> None:
    found, receipt = read("receipt", top, 2, "--home", home), network.receipt(top, 2)
    assert found["amount_uttc"] == receipt.amount > 0
    assert (found["weight"], found["metrics"]) == (receipt.weight, receipt.metrics)
    pool = found["pool_uttc"] + found["carried_uttc"]
    assert found["amount_uttc"] == pool * found["weight"] // found["total_weight"]
    assert found["verified"] is False
    assert read("receipt", top, 2, "--verify", "--home", home)["verified"] is True
    text = dii("receipt", top.removeprefix("ttn:"), 2, "--verify", "--home", home).stdout
    assert all(line in text for line in receipt.lines().values())
    assert network.header().hash.hex() in text


@pytest.mark.parametrize("kind", ["receipt", "account", "nobody", "gateway"])
def test_a_proof_checks_with_nothing_but_a_header_hash(
    kind: str, home: Path, network: Network, top: str, elsewhere: Path
) -> None:
    header = network.header().hash.hex()
    words: tuple[object, ...] = {
        "receipt": ("receipt", top, "--epoch", 2),
        "account": ("account", "bob"),
        "nobody": ("account", format_address(bytes(range(20)))),
        "gateway": ("gateway", top),
    }[kind]
    made = read("proof", "make", *words, "-o", "a.proof", "--home", home)
    where = {"file": "a.proof", "height": network.height, "header": header}
    assert made == where | {"present": kind != "nobody"}
    found = read("proof", "check", "a.proof", "--header", header)
    assert (found["holds"], found["header"]["hash"]) == (True, header)
    proven = found["proven"]
    match kind:
        case "receipt":
            receipt = network.receipt(top, 2)
            assert proven["kind"] == "receipt"
            assert (proven["stream"], proven["epoch"]) == ("main", 2)
            assert (proven["amount"], proven["metrics"]) == (receipt.amount, receipt.metrics)
        case "account":
            assert (proven["balance"], proven["nonce"]) == (500 * 10**6, 0)
        case "nobody":
            assert proven["present"] is False
        case "gateway":
            assert (proven["key"][0], proven["first"]) == ("main", 0)
            assert proven["owners"] == {"0": format_address(network.receipt(top, 2).leaf.payee)}
    text = dii("proof", "check", "a.proof", "--header", header).stdout
    assert "holds" in text
    assert ("absent" in text) is (kind == "nobody")
    # The file is what standard output would be, and standard input will do.
    piped = dii("proof", "make", *words, "--home", home).stdout
    assert piped == Path("a.proof").read_text()
    dii("proof", "check", "-", "--header", header, typed=piped)
    # Any other header hash, and any other content, is refused.
    other = ("0" if header[0] != "0" else "1") + header[1:]
    assert "made against header" in refused("proof", "check", "a.proof", "--header", other)
    content = json.loads(piped)
    for path in _texts(content):
        forged = json.loads(piped)
        *way, last = path
        inner = forged
        for step in way:
            inner = inner[step]
        inner[last] = _flipped(inner[last])
        Path("b.proof").write_text(json.dumps(forged))
        refused("proof", "check", "b.proof", "--header", header)


@pytest.mark.parametrize(
    ("table", "disguise"),
    [
        ("account", lambda address: (b"\1" + address,)),
        ("account", lambda address: (address, 0)),
        ("account", lambda address: (format_address(address),)),
        ("gateway", lambda hash_: (hash_,)),
        ("gateway", lambda hash_: ("main", hash_.hex())),
        ("gateway", lambda hash_: (b"main", hash_)),
        ("gateway", lambda hash_: ("m\u0430in", hash_)),
        ("gateway", lambda hash_: ("main ", hash_)),
        ("gateway", lambda hash_: ("_main", hash_)),
        ("gateway", lambda hash_: ("", hash_)),
        ("gateway", lambda hash_: ("m" * 42, hash_)),
        ("gateway", lambda hash_: ("main", "main", hash_)),
        ("validator", lambda hash_: (hash_,)),
    ],
    ids=[
        "longer",
        "more",
        "text",
        "no scope",
        "hex",
        "bytes",
        "cyrillic",
        "blank",
        "underscore",
        "empty",
        "long",
        "twice",
        "validator",
    ],
)
def test_a_present_record_cannot_be_shown_absent_by_a_key_that_looks_like_its_own(
    table: str,
    disguise: Callable[[bytes], tuple[Any, ...]],
    network: Network,
    top: str,
    elsewhere: Path,
) -> None:
    home = network.home
    real = home.gateway(top) if table == "gateway" else home.address("bob")
    kind: Any = {"account": ACCOUNTS, "gateway": GATEWAYS, "validator": VALIDATORS}[table]
    Path("a.proof").write_text(json.dumps(network.proof_of(kind, *disguise(real)).to_json()))
    header = network.header().hash.hex()
    assert "no key" in refused("proof", "check", "a.proof", "--header", header)
    checker = [sys.executable, CHECKER, "a.proof", header]
    assert subprocess.run(checker, capture_output=True).returncode == 1


def _texts(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every text and number in a JSON document."""
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from _texts(value, (*path, key))
    elif content is not None:
        yield path


def _flipped(value: str | int) -> str | int:
    if isinstance(value, int):
        return value + 1
    middle = len(value) // 2
    digit = "0" if value[middle] != "0" else "1"
    return value[:middle] + digit + value[middle + 1 :]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"null", b"[]", b"{}", b'{"format": "dii/proof/1"}', b'{"kind": "receipt"}',
     b"[" * 99_999, b" " * (2 << 20)],
    ids=["empty", "binary", "null", "list", "object", "format", "kind", "deep", "large"],
)  # fmt: skip
def test_a_file_that_is_no_proof_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.proof"
    path.write_bytes(content)
    assert "does not hold" in refused("proof", "check", path, "--header", "0" * 64)


def test_verify_executes_the_chain_again(home: Path, network: Network) -> None:
    found, expected = read("verify", "--home", home), network.verify()
    assert found["app_hash"] == expected.app_hash.hex()
    assert (found["height"], found["transactions"]) == (expected.height, expected.transactions)
    assert (found["minted_uttc"], found["burned_uttc"]) == (expected.minted, expected.burned)
    (line,) = dii("verify", "--home", home).stdout.splitlines()
    assert found["app_hash"] in line
    assert network.currency.format(expected.minted) in line


def test_a_lost_index_is_made_again(copy: Path) -> None:
    before = [read("list", table, "--home", copy) for table in look.PEOPLE]
    (copy / "index.sqlite").unlink()
    assert "dii rebuild" in refused("list", "epochs", "--home", copy)
    assert read("rebuild", "--home", copy) == {"height": read("status", "--home", copy)["height"]}
    assert [read("list", table, "--home", copy) for table in look.PEOPLE] == before
