"""A third Ed25519, for tests only: slow, from the formulas, with every check of the rule a switch.

Points are affine (x, y) as integers; formulas as in RFC 8032, sections 5.1.1 to 5.1.4. Nothing
here is shared with the package, so that agreement means something.
"""

from __future__ import annotations

import functools
import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
ZERO: Point = (0, 1)


def add(left: Point, right: Point) -> Point:
    (a, b), (c, d) = left, right
    cross = D * a * b * c * d % P
    inverse = pow((1 + cross) * (1 - cross), -1, P)
    x = (a * d + b * c) * (1 - cross) * inverse % P
    y = (b * d + a * c) * (1 + cross) * inverse % P
    return x, y


@functools.cache
def times(point: Point, factor: int) -> Point:
    result = ZERO
    for bit in f"{factor:b}":
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def negative(point: Point) -> Point:
    return -point[0] % P, point[1]


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decode(raw: bytes, canonical: bool = True) -> Point | None:
    number = int.from_bytes(raw, "little")
    odd, y = number >> 255, number & (1 << 255) - 1
    if canonical and y >= P:
        return None
    y %= P
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square or (canonical and odd and not x):
        return None
    return (x if x % 2 == odd else -x % P), y


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
assert BASE is not None


def _torsion() -> list[Point]:
    """Return the eight points of order 1, 2, 4 and 8, as multiples of one of order 8."""
    for y in range(2, 100):
        point = decode(y.to_bytes(32, "little"))
        if point is not None:
            small = times(point, L)
            if times(small, 4) != ZERO:
                return [times(small, factor) for factor in range(8)]
    raise AssertionError("no point of order 8 found")


TORSION = _torsion()


def encodings(point: Point) -> list[bytes]:
    """Every 32 bytes that a lax decoder takes for ``point``; the canonical one comes first."""
    x, y = point
    signs = [x & 1] if x else [0, 1]
    return [
        (value | sign << 255).to_bytes(32, "little")
        for value in ((y, y + P) if y + P < 2**255 else (y,))
        for sign in signs
    ]


def challenge(r: bytes, public_key: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + public_key + message).digest(), "little") % L


def verdict(
    public_key: bytes,
    message: bytes,
    signature: bytes,
    *,
    small_a: bool = False,
    small_r: bool = False,
    lax: bool = False,
    any_s: bool = False,
    cofactored: bool = False,
) -> bool:
    """The rule; each switch relaxes one part of it, as some library does."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    a, r = decode(public_key, not lax), decode(signature[:32], not lax)
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or (s >= L and not any_s):
        return False
    if (a in TORSION and not small_a) or (r in TORSION and not small_r):
        return False
    k = challenge(signature[:32], public_key, message)
    left, right = times(BASE, s), add(r, times(a, k))
    if cofactored:
        left, right = times(left, 8), times(right, 8)
    return left == right


def forge(secret: int, nonce: int, at: Point, rt: Point, message: bytes) -> tuple[bytes, bytes]:
    """Return (public key, signature) with A = secret·B + at and R = nonce·B + rt."""
    public_key, r = encode(add(times(BASE, secret), at)), encode(add(times(BASE, nonce), rt))
    s = (nonce + challenge(r, public_key, message) * secret) % L
    return public_key, r + s.to_bytes(32, "little")
