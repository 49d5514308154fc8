"""Rules, policies, issuance and receipts, by which contributions become money.

A *stream* joins a rule (metrics to weights) and a policy (how much an epoch may mint) for one
scope's gateways. Everything here is pure and exact in Python integers, so that the laboratory
replays the very functions that the chain executes. A module's ``__all__`` lists its part of this
package's names.
"""

from dii.minting.issuance import *
from dii.minting.policies import *
from dii.minting.receipts import *
from dii.minting.rules import *
from dii.minting.spec import *
