"""Transfers of tokens on other machines, called from Python. Argument: revm or starlark."""

import sys
import time

CALLS = {"revm": 100_000, "starlark": 30_000}[sys.argv[1]]

if sys.argv[1] == "revm":
    from Crypto.Hash import keccak
    from pyrevm import EVM, AccountInfo

    # Balances lie at keccak(address . 0), as Solidity places a mapping; calldata: to, amount.
    SLOT = "6000526040600020"  # mstore(0, address on the stack); keccak(0, 64)
    code = bytes.fromhex(
        "33" + SLOT + "80"
        "54"
        "602035"  # caller's slot, what it has, amount
        "80"
        "82"
        "10"  # have < amount?
        "60"
        "33"
        "57"  # then revert
        "80"
        "91"
        "03"  # slot, amount, have - amount
        "82"
        "55"  # stored
        "600035" + SLOT + "80"
        "54"  # slot, amount, payee's slot, what it has
        "82"
        "01"
        "90"
        "55"  # + amount, stored
        "00"
    )
    code += bytes(0x33 - len(code)) + bytes.fromhex("5b60006000fd")
    alice, bob, token = (f"0x{letter * 40}" for letter in "abc")
    evm = EVM()
    evm.insert_account_info(token, AccountInfo(code=code))

    def slot(address: str) -> int:
        data = bytes.fromhex(address[2:]).rjust(32, b"\0") + bytes(32)
        return int.from_bytes(keccak.new(digest_bits=256, data=data).digest(), "big")

    evm.insert_account_storage(token, slot(alice), 10**9)
    calldata = bytes.fromhex(bob[2:]).rjust(32, b"\0") + (5).to_bytes(32, "big")

    def call() -> None:
        evm.message_call(alice, token, calldata=calldata, gas=100_000)

    def moved() -> bool:
        return evm.storage(token, slot(bob)) == 5 * CALLS
else:
    import starlark

    SOURCE = """
def transfer(sender, to, amount):
    if amount <= 0:
        fail("nothing to transfer")
    have = read(sender)
    if have < amount:
        fail("too little")
    write(sender, have - amount)
    write(to, read(to) + amount)
"""
    balances = {"alice": 10**9, "bob": 0}
    module = starlark.Module()
    module.add_callable("read", balances.get)
    module.add_callable("write", balances.__setitem__)
    starlark.eval(module, starlark.parse("token", SOURCE), starlark.Globals.standard())
    frozen = module.freeze()

    def call() -> None:
        frozen.call("transfer", "alice", "bob", 5)

    def moved() -> bool:
        return balances["bob"] == 5 * CALLS


start = time.perf_counter()
for _ in range(CALLS):
    call()
seconds = time.perf_counter() - start
assert moved()
print(f"{CALLS / seconds:,.0f}/s")
