"""Bare signature checks: the floor under every signed ledger. Argument: nacl or pycryptodome."""

import os
import sys
import time

COUNT = {"nacl": 20_000, "pycryptodome": 2_000}[sys.argv[1]]
messages = [os.urandom(140) for _ in range(COUNT)]

if sys.argv[1] == "nacl":
    from nacl.signing import SigningKey

    key = SigningKey.generate()
    signatures = [key.sign(message).signature for message in messages]
    check = key.verify_key.verify
    start = time.perf_counter()
    for message, signature in zip(messages, signatures):
        check(message, signature)
else:
    from Crypto.PublicKey import ECC
    from Crypto.Signature import eddsa

    key = ECC.generate(curve="ed25519")
    signer = eddsa.new(key, "rfc8032")
    signatures = [signer.sign(message) for message in messages]
    verifier = eddsa.new(key.public_key(), "rfc8032")
    start = time.perf_counter()
    for message, signature in zip(messages, signatures):
        verifier.verify(message, signature)
print(f"{COUNT / (time.perf_counter() - start):,.0f}/s on one core")
