"""Contracts on small chains for tests: two texts, their deployment and arguments."""

from __future__ import annotations

from dii import codec
from dii.application.messages import Deploy
from dii.contracts import tree
from dii.contracts.frontend import parse
from dii.crypto import SigningKey, contract_address
from tests.chains import Chain, gateway

PAYS = '''
"""Pays someone one unit for each epoch in which gateway 1 was online."""
until: int
to: Address
paid: int

@payable
def init(to_: Address, until_: int):
    to = to_
    until = until_

@on_epoch
def each(settled: int):
    m = metrics(GATEWAY, settled)
    if m.reported and m.online_ppm > 5:
        pay(to, 1)
        paid += 1
        emit("paid", settled, m.online_ppm)

@view
def count() -> int:
    return paid
'''.replace("GATEWAY", repr(gateway(1)))

BANK = '''
"""Keeps deposits apart."""
held: map[Address, int]

@payable
def put():
    held[sender] = get(held, sender, 0) + value

@external
def take(amount: int):
    assert get(held, sender, 0) >= amount, "not yours"
    held[sender] -= amount
    pay(sender, amount)

@external
def spin(n: int) -> int:
    total = 0
    for i in range(n):
        total += i
    return total
'''


def compiled(source: str) -> bytes:
    """Return a source's tree."""
    return tree.encode(parse(source))


def wire(*values: int | bytes | str | bool) -> bytes:
    """Return arguments as a transaction carries them."""
    return codec.encode(
        tuple(
            one.to_bytes((one + (one < 0)).bit_length() // 8 + 1, signed=True)
            if type(one) is int
            else one
            for one in values
        )
    )


def deploy(
    chain: Chain, who: SigningKey, source: str, *arguments: int | bytes, **how: int
) -> bytes:
    """Deploy a contract that must not fail; return its address."""
    nonce = chain.nonce(who)
    message = Deploy(
        "main", compiled(source), wire(*arguments),
        how.get("value", 0), how.get("hook_gas", 0), how.get("purse", 0),
    )  # fmt: skip
    (result,) = chain.do(who, message)
    assert result.code == 0, result.detail
    return contract_address(who.address, nonce)
