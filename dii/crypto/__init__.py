"""Hashes, addresses, signatures and key files: everything in which a network must agree exactly.

``address`` has hashes and addresses, ``signature`` the rule by which nodes verify signatures,
``keys`` signs and keeps keys in encrypted files. ``batch`` verifies many in other processes; only
nodes import it.
Primitives come from libraries (hashlib, PyNaCl, pycryptodome), whose verification differs; the rule
chooses among them. The libraries load on first use, since most importers never verify or sign. A
module's ``__all__`` lists its part of this package's names.
"""

from dii.crypto.address import *
from dii.crypto.keys import *
from dii.crypto.signature import *
