"""Balances and supply: the only functions that change them.

Total supply stays below 2**63 (minting is capped at what is left of it), so no balance can
overflow by adding.
"""

from __future__ import annotations

from dii import codec, crypto, errors
from dii.application import records
from dii.ledger.state import State
from dii.units import MAX_AMOUNT

NOBODY = records.Account(0, 0)


def account(state: State, address: codec.Address) -> records.Account:
    """Return an account; one that was never used is empty."""
    return state.get(records.ACCOUNTS, address) or NOBODY


def resolve(state: State, address: codec.Address) -> codec.Address:
    """Return the account that gets money sent to an address: a claimed claim account forwards."""
    forward = state.get(records.FORWARDS, address)
    return address if forward is None else forward


def credit(state: State, address: codec.Address, amount: int) -> None:
    """Add to a balance; creates the account."""
    was = account(state, address)
    state.put(records.ACCOUNTS, records.Account(was.balance + amount, was.nonce), address)


def debit(state: State, address: codec.Address, amount: int) -> None:
    """Take from a balance.

    Raises
    ------
    InsufficientFunds
        The account has less.
    """
    was = account(state, address)
    if was.balance < amount:
        name = crypto.format_address(address)
        raise errors.InsufficientFunds(account=name, balance=was.balance, needed=amount)
    state.put(records.ACCOUNTS, records.Account(was.balance - amount, was.nonce), address)


def supply(state: State) -> records.Supply:
    """Return all money minted and burned so far."""
    return state.get(records.SUPPLY) or records.Supply(0, 0)


def mint(state: State, amount: int) -> None:
    """Count newly minted money; the caller credits it."""
    was = supply(state)
    state.put(records.SUPPLY, records.Supply(was.minted + amount, was.burned))


def burn(state: State, amount: int) -> None:
    """Count destroyed money; the caller has debited it."""
    was = supply(state)
    state.put(records.SUPPLY, records.Supply(was.minted, was.burned + amount))


def mintable(state: State) -> int:
    """Return the amount that may still be minted: Supply.minted, too, stays below 2**63."""
    return MAX_AMOUNT - supply(state).minted
