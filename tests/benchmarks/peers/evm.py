"""Plain transfers of money in py-evm's VM, signatures recovered; in memory, without a block's end.

Argument: number of transfers. Prints transfers per second, and the library that recovers.
"""

import sys
import time

from eth import constants
from eth.chains.base import MiningChain
from eth.consensus.noproof import NoProofConsensus
from eth.db.atomic import AtomicDB
from eth.vm.forks import IstanbulVM
from eth_keys import KeyAPI, keys

COUNT = int(sys.argv[1])
people = [keys.PrivateKey(number.to_bytes(32, "big")) for number in range(1, 21)]
machine = IstanbulVM.configure(consensus_class=NoProofConsensus)
kind = MiningChain.configure(__name__="Bench", vm_configuration=((0, machine),))
parameters = {
    "difficulty": 1,
    "gas_limit": 10**9,
    "timestamp": 1,
    "coinbase": constants.ZERO_ADDRESS,
    "nonce": constants.GENESIS_NONCE,
    "mix_hash": constants.ZERO_HASH32,
    "extra_data": b"",
}
funds = {
    one.public_key.to_canonical_address(): {
        "balance": 10**20,
        "nonce": 0,
        "code": b"",
        "storage": {},
    }
    for one in people
}
chain = kind.from_genesis(AtomicDB(), parameters, funds)
machine = chain.get_vm()
wires = []
for number in range(COUNT):
    key = people[number % len(people)]
    transaction = machine.create_unsigned_transaction(
        nonce=number // len(people),
        gas_price=1,
        gas=21_000,
        to=people[(number + 7) % len(people)].public_key.to_canonical_address(),
        value=1 + number,
        data=b"",
    )
    wires.append(transaction.as_signed_transaction(key).encode())
decode = machine.get_transaction_builder().decode
header = machine.get_header()
start = time.perf_counter()
for wire in wires:
    _, computation = machine.apply_transaction(header, decode(wire))
    assert not computation.is_error
machine.state.persist()
seconds = time.perf_counter() - start
backend = type(KeyAPI().backend).__name__.removesuffix("ECCBackend")
print(f"{COUNT / seconds:,.0f}/s on one core (signatures by {backend})")
