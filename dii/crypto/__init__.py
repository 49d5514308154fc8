"""Hashes, addresses, signatures and key files: everything in which a network must agree exactly.

``address`` has hashes and addresses, ``signature`` the rule by which nodes verify signatures,
``batch`` verifies many in other processes, ``keys`` signs and keeps keys in encrypted files.
Primitives come from libraries (hashlib, PyNaCl, pycryptodome), whose verification differs; the rule
chooses among them. The libraries load on first use, since most importers never verify or sign.
"""

from dii.crypto.address import (
    address_of,
    claim_address,
    contract_address,
    format_address,
    keyed_hash,
    parse_address,
    sha256,
)
from dii.crypto.batch import start_verifying
from dii.crypto.keys import SigningKey, load_key, public_key_of, save_key
from dii.crypto.signature import accelerator, verify

__all__ = [
    "SigningKey", "accelerator", "address_of", "claim_address", "contract_address",
    "format_address", "keyed_hash", "load_key", "parse_address", "public_key_of", "save_key",
    "sha256", "start_verifying", "verify",
]  # fmt: skip
