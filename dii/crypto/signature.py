"""The rule by which every node verifies signatures.

Ed25519 libraries agree on signatures of honest signers and differ on crafted ones: points of small
order, encodings that are not canonical, an equation with or without the cofactor ("Taming the many
EdDSAs", ePrint 2020/1244). On a chain a difference is a split, so the rule is stated here. A
signature R ‖ S of a message M under a public key A is valid if and only if

1. A and R are canonical encodings of points (RFC 8032, section 5.1.3), neither of small order;
2. S < L, the order of the base point B;
3. S·B = R + SHA-512(R ‖ A ‖ M)·A exactly, without multiplying by the cofactor.

libsodium, through PyNaCl, follows this rule, quickly. Without PyNaCl a short reference over
pycryptodome's points gives the same results. pycryptodome's own ``verify`` multiplies by the
cofactor, and OpenSSL (``cryptography``) admits small orders, so neither is used here. The chosen
implementation must first give the right results on ``EDGE_CASES``.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from typing import Any, Final

from dii import errors

__all__ = ["accelerator", "verify"]

Verify = Callable[[bytes, bytes, bytes], bool]
"""Takes public key, message and signature; tells whether the signature is valid."""

_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_Y8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
"""The y of two of the points of order 8; the other two have its negative."""
_SMALL_ORDER_Y: Final = (1, _P - 1, 0, _Y8, _P - _Y8)
"""The y of all eight points whose order divides 8: orders 1, 2, 4, 8 and 8."""

# Points of the edge cases, from fixed secrets a and r and a point T of order 8.
_A: Final = "bee217cdf80bf0ecb5edff7cdca88f9f6ce69282efa728be3d372ce55bea5524"  # a·B
_AT: Final = "d45d2862df8805bcf5a8375ae18ba6d1aee345fb7f985ef22b1c42d3558101d7"  # a·B + T
_R: Final = "79cd21a12e56f5923d05139e2ca25c99546cb27b605254ba25561d249520a3a0"  # r·B
_RT: Final = "f69025bea7824bc6b8c32bfb9d687d297b758790b6ae77391e37b1a8e8cfb2f5"  # r·B + T
_R3T: Final = "7432de5ed1a90a6dc2faec61d35da366ab934d849fadab45daa9e2db6adf5c5f"
_R5T: Final = "688c2acecc4a28c992c912a6ea4800e1cd310cf53d662f9ff82c6614a64d58f8"
_T: Final = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
_3T: Final = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
_0: Final = "01" + 31 * "00"  # the neutral point, x = 0 and y = 1
_MINUS_0: Final = "01" + 30 * "00" + "80"  # the same with x negative
_0_PLUS_P: Final = "ee" + 30 * "ff" + "7f"  # the same with y = p + 1

# fmt: off
EDGE_CASES: Final = (
    ("valid", True, b"dii", _A, _R,
     "179ec523cd15a40e1ed439c58a9b3f9a8e5059e1200998545ba594dfa996b103"),
    ("another message", False, b"DII", _A, _R,
     "179ec523cd15a40e1ed439c58a9b3f9a8e5059e1200998545ba594dfa996b103"),
    ("S not below L", False, b"dii", _A, _R,
     "0472bb80e778b666f470316869951eaf8e5059e1200998545ba594dfa996b113"),
    ("A of order 8", False, b"\0", _T, _R3T,
     "d04a478d8b61ed46231b84d023e026b072b60b22dda77203d86d1ff2531cb50b"),
    ("A neutral, y = p + 1", False, b"dii", _0_PLUS_P, _R,
     "d04a478d8b61ed46231b84d023e026b072b60b22dda77203d86d1ff2531cb50b"),
    ("A neutral, x = -0", False, b"dii", _MINUS_0, _R,
     "d04a478d8b61ed46231b84d023e026b072b60b22dda77203d86d1ff2531cb50b"),
    ("R neutral", False, b"dii", _A, _0,
     "d226b352a1557c88d7b035129acd97b5bb87b601172c324dc0f18036cba7c702"),
    ("R neutral, y = p + 1", False, b"dii", _A, _0_PLUS_P,
     "78ef555b8da402033b0a8c362b72a079d2d14eecce88345228a0e45c7e1af901"),
    ("R of order 8", False, b"9", _AT, _3T,
     "0a0e471b7199cce5c070c5f6f1ab09c349f9efd6bd3ae682ad6b38dc09ce7904"),
    ("A of mixed order", True, b"\6", _AT, _R,
     "8a71219482dc79018f3b72eac9407008c84851c7f1632613001cbad367334f03"),
    ("A and R of mixed order", True, b"\0", _AT, _R5T,
     "eb7246a1a34c84ac96af7d52ec707d0b0d97ea34c5a6ae95a258d5c80086f80a"),
    ("A of mixed order, true only times 8", False, b"\0", _AT, _R,
     "f4648cd7c4bce50030de1f478469dc4deef115a90e9c1ea574fdd30f988fb60f"),
    ("R of mixed order, true only times 8", False, b"dii", _A, _RT,
     "5aa5bf2775357ea9c6794cb1236d0a391474fa9e6427260bc8b07db56e1caf0e"),
)
# fmt: on
"""(name, valid, message, A, R, S): one case for each difference among libraries.

A relaxation without a case, such as a missing canonical check where small orders are refused,
cannot be shown by any signature: no signature for such a point can be made.
"""


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature is valid under the rule above; false for a wrong length.

    Raises
    ------
    AcceleratorRefused
        The library that would verify does not follow the rule.
    """
    _, check = chosen()
    return check(public_key, message, signature)


def accelerator() -> str:
    """Return the library that verifies instead of the reference: ``"PyNaCl 1.6.2"``, or ``"none"``.

    Raises
    ------
    AcceleratorRefused
        The library that would verify does not follow the rule.
    """
    library, check = chosen()
    return "none" if check is reference else library


@functools.cache
def chosen() -> tuple[str, Verify]:
    """Return the name and verifier of this process; it must pass all edge cases."""
    library, check = load_accelerator() or ("pycryptodome", reference)
    for case, valid, message, a, r, s in EDGE_CASES:
        if check(bytes.fromhex(a), message, bytes.fromhex(r + s)) != valid:
            raise errors.AcceleratorRefused(library=library, case=case)
    return library, check


def load_accelerator() -> tuple[str, Verify] | None:
    """Return PyNaCl's name and verifier, or None without it or with ``DII_NO_ACCELERATOR=1``."""
    if os.environ.get("DII_NO_ACCELERATOR", "0") not in ("", "0"):
        return None
    try:
        import nacl  # noqa: PLC0415
        from nacl.bindings import crypto_sign_open  # noqa: PLC0415
        from nacl.exceptions import BadSignatureError  # noqa: PLC0415
    except ImportError:
        return None

    def check(public_key: bytes, message: bytes, signature: bytes) -> bool:
        # Lengths are checked here: the C function reads 32 bytes wherever it is pointed.
        if len(public_key) != 32 or len(signature) != 64:
            return False
        try:
            crypto_sign_open(signature + message, public_key)
        except BadSignatureError:
            return False
        return True

    return f"PyNaCl {nacl.__version__}", check


def reference(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Verify by the rule with pycryptodome's points; about 3,000 a second."""
    from Crypto.Signature import eddsa  # noqa: PLC0415

    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if len(public_key) != 32 or len(signature) != 64 or s >= _L:
        return False
    if not (_admissible(public_key) and _admissible(r)):
        return False
    try:
        a = eddsa.import_public_key(public_key).pointQ
    except ValueError:
        return False
    k = int.from_bytes(hashlib.sha512(r + public_key + message).digest(), "little") % _L
    # Encodings are compared, so R need not be decoded: the computed one is canonical. (-A)·k is
    # not A·(L - k), as A may have a part of small order.
    point = _base() * s + -a * k
    return (int(point.y) | (int(point.x) & 1) << 255).to_bytes(32, "little") == r


def _admissible(encoding: bytes) -> bool:
    """Tell whether y is reduced and not of a point of small order (with either sign)."""
    y = int.from_bytes(encoding, "little") & (1 << 255) - 1
    return y < _P and y not in _SMALL_ORDER_Y


@functools.cache
def _base() -> Any:
    from Crypto.Signature import eddsa  # noqa: PLC0415

    return eddsa.import_public_key(bytes.fromhex("58" + 31 * "66")).pointQ
