"""Comparison of everything that a network shows with the reference and the state."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import product

import pandas as pd
import pytest

from dii import Network
from dii.application.bank import resolve
from dii.application.records import ACCOUNTS, ISSUANCES
from dii.application.records import GATEWAYS as BINDINGS
from dii.crypto import format_address, parse_address
from dii.errors import HomeJoined, NoReceipt
from tests.pairs import ALIAS, GATEWAYS, KEYS, OPERATORS, Books, Issued, address, eui, hashed, name
from tests.proofs import PAGE

MONTHS = ("2025-03", "2025-04")

Paid = Mapping[tuple[str, int], Issued]
"""Issuances by stream and epoch."""


def check_state(net: Network, books: Books) -> None:
    state = net.state
    for scope, gateway in product(books.scopes, GATEWAYS):
        binding = state.get(BINDINGS, scope.scope, hashed(gateway))
        for epoch in range(scope.settled, scope.settled + 5):
            owner = scope.owner(gateway, epoch)
            found = binding.owner(epoch) if binding else None
            assert found == (None if owner is None else address(owner))
    for (stream, epoch), issued in books.issued.items():
        found = state.get(ISSUANCES, stream, epoch)
        assert found is not None
        assert (found.pool, found.dust_before, found.dust_after, found.paid, found.rest) == (
            issued.pool, issued.dust_before, issued.dust, issued.paid, issued.rest,
        )  # fmt: skip
        assert (found.total_weight, found.count) == (issued.total, len(issued.rows))
        assert (found.rule, found.policy) == (issued.plan.rule.spec(), issued.plan.policy.spec())
    balances = {key: item.balance for (key,), item in state.items(ACCOUNTS) if item.balance}
    assert balances == {address(who): amount for who, amount in books.balances.items() if amount}
    known = {(str(stream), epoch) for (stream, epoch), _ in state.items(ISSUANCES)}
    assert known == books.issued.keys()


def account_of(net: Network, label: str) -> bytes:
    """Return the account that a label names."""
    return resolve(net.state, net.home.address(label))


def earned(books: Books) -> Counter[tuple[str, int]]:
    """Return what each gateway has earned in each scope."""
    sums: Counter[tuple[str, int]] = Counter()
    for issued in books.issued.values():
        for one, (_, amount, _) in issued.rows.items():
            sums[issued.scope, one] += amount
    return sums


def check_tables(net: Network, books: Books) -> None:
    state = net.state
    table = net.accounts()
    rows = {
        parse_address(row.address): (row.balance_uttc, row.transactions)
        for row in table.itertuples()
    }
    assert rows == {key: (item.balance, item.nonce) for (key,), item in state.items(ACCOUNTS)}

    sums, table = earned(books), net.gateways()
    keys = list(zip(table["scope"], table["hash"]))
    assert len(set(keys)) == len(keys)
    shown = dict(zip(keys, zip(table["gateway"], table["operator"], table["earned_uttc"])))
    owners = {
        (scope.scope, one): scope.shown_owner(one) or scope.registry.get(one)
        for scope in books.scopes
        for one in scope.everything
        if scope.resolve_name(one, scope.settled) == one or (scope.scope, one) in sums
    }
    for (scope, one), owner in owners.items():
        label, operator, amount = shown[scope, hashed(one).hex()]
        assert (label, amount) == (name(one), sums[scope, one])
        if owner is None:
            assert pd.isna(operator)
        else:
            assert account_of(net, operator) == address(books.resolve(owner))
    for account in {*KEYS, *(one for one in OPERATORS if net.home.find("account", one))}:
        listed = net.gateways(account)
        assert set(zip(listed["scope"], listed["hash"])) == {
            (scope, hashed(one).hex())
            for (scope, one), owner in owners.items()
            if owner is not None and books.resolve(owner) == books.resolve(account)
        }
        assert all(shown[row.scope, row.hash][2] == row.earned_uttc for row in listed.itertuples())

    holders = filter(None, owners.values())
    totals = Counter(dict.fromkeys((address(books.resolve(one)) for one in holders), 0))
    for issued in books.issued.values():
        for _, amount, payee in issued.rows.values():
            totals[address(books.resolve(payee))] += amount
    table = net.operators()
    assert {account_of(net, row.operator): row.earned_uttc for row in table.itertuples()} == totals

    table = net.epochs()
    assert set(zip(table["stream"], table["epoch"])) == books.issued.keys()
    for row in table.itertuples():
        issued = books.issued[row.stream, row.epoch]
        assert (row.total_weight, row.pool_uttc, row.paid_uttc, row.dust_uttc, row.rest_uttc) == (
            issued.total, issued.pool, issued.paid, issued.dust, issued.rest,
        )  # fmt: skip
        assert row.gateways == len(issued.rows)


def check_issuances(net: Network, books: Books, found: Paid) -> None:
    for (stream, epoch), issued in found.items():
        table = net.issuance(epoch, stream)
        wanted = {
            name(one): (weight, amount, address(books.resolve(payee)))
            for one, (weight, amount, payee) in issued.rows.items()
        }
        assert rows_of(net, table) == wanted


def rows_of(net: Network, table: pd.DataFrame) -> dict[str, tuple[int, int, bytes]]:
    return {
        row.gateway: (row.weight, row.amount_uttc, account_of(net, row.operator))
        for row in table.itertuples()
    }


def check_receipts(net: Network, books: Books, found: Paid) -> None:
    header = net.header()
    for (stream, number), issued in found.items():
        for one, (weight, amount, payee) in issued.rows.items():
            told = issued.scope == "main" and books.resolve_name(one + ALIAS, number) == one
            receipt = net.receipt(eui(one) if told else name(one), number, stream)
            assert receipt.verify(header)
            leaf = receipt.leaf
            assert (leaf.gateway, leaf.payee) == (hashed(one), address(payee))
            assert (leaf.weight, leaf.amount) == (weight, amount)
            shown = "\n".join(receipt.lines().values())
            assert type(issued.plan.rule).__name__ in shown
            text = json.dumps(receipt.proof.to_json()).encode()
            proven = PAGE["check"](text, header.hash)
            assert (proven["amount"], proven["weight"]) == (amount, weight)
        missing = set(GATEWAYS) - issued.rows.keys()
        for one in missing & books.everything:
            with pytest.raises(NoReceipt):
                net.receipt(name(one), number, stream)


def check_comparison(net: Network, books: Books, found: Paid, epochs: Collection[int]) -> None:
    """Check that the laboratory, by the rule in force, computes the amounts that were paid."""
    for (_, epoch), issued in found.items():
        if issued.scope != "main" or epoch not in epochs or not issued.total:
            continue
        divided = issued.pool + issued.dust_before
        amounts = net.compare(epoch, issued.plan.rule, pool=divided).amounts
        shown: Counter[bytes | str] = Counter()
        for label, amount in amounts.iloc[:, 0].items():
            unowned = label in map(name, issued.rows)
            shown[label if unowned else account_of(net, label)] += amount
        wanted: Counter[bytes | str] = Counter()
        for one, (_, amount, payee) in issued.rows.items():
            unowned = books.owner(one, epoch) is None
            wanted[name(one) if unowned else address(books.resolve(payee))] += amount
        assert shown == wanted


def check_metrics(net: Network, books: Books, epochs: Iterable[int]) -> None:
    """Check that the metrics of an epoch, computed again, are those reported."""
    for epoch in epochs:
        table = net.metrics(epoch).to_pylist()
        found = {row.pop("gateway"): row for row in table}
        for one in books.issued["main", epoch].rows:
            reported = net.receipt(hashed(one).hex(), epoch).metrics
            assert {key: found[name(one)][key] for key in reported} == reported, (name(one), epoch)


DECIDED = ["number", "yes", "no", "total", "status", "acts", "expires"]
"""Columns of proposals that need no names."""


def check_joined(joined: Network, net: Network, books: Books) -> None:
    """Check that a home joined with a snapshot shows what the first home shows, or refuses."""
    of_snapshot, of_whole = joined.summary(), net.summary()
    assert of_snapshot.pop("begins")
    assert of_snapshot.pop("epochs").split()[0] == of_whole.pop("epochs").split()[0]
    assert of_snapshot == of_whole

    accounts = [
        one.accounts().set_index("address").drop(columns="account") for one in (joined, net)
    ]
    kinds = [one.pop("kind").replace("key", "unknown").sort_index() for one in accounts]
    assert accounts[0].sort_index().equals(accounts[1].sort_index())
    named = kinds[1] != "claim"  # which is known by its name alone
    assert kinds[0][named].equals(kinds[1][named])
    assert joined.proposals()[DECIDED].equals(net.proposals()[DECIDED])

    bound = {
        (scope.scope, hashed(one).hex()): address(books.resolve(scope.shown_owner(one)))
        for scope in books.scopes
        for one in scope.owners
    }
    table = joined.gateways()
    assert bound == {
        (row.scope, row.hash): account_of(joined, row.operator) for row in table.itertuples()
    }
    whole = {tuple(row) for row in net.epochs().itertuples(index=False)}
    assert {tuple(row) for row in joined.epochs().itertuples(index=False)} <= whole
    for (stream, epoch), issued in books.issued.items():
        try:
            table = joined.issuance(epoch, stream)
        except HomeJoined:
            with pytest.raises(HomeJoined):
                joined.receipt(hashed(0).hex(), epoch, stream)
        else:
            assert dict(zip(table["gateway"], table["amount_uttc"])) == {
                hashed(one).hex(): amount for one, (_, amount, _) in issued.rows.items()
            }
    balances = {address(one): amount for one, amount in books.balances.items()}
    for key, _ in sorted(balances.items()):
        owner = format_address(key)
        with pytest.raises(HomeJoined):
            joined.statement(owner, MONTHS[0])
        shown, wanted = (one.statement(owner, "2025-05") for one in (joined, net))
        assert shown.accounts == wanted.accounts
        assert (shown.opening, shown.closing) == (wanted.opening, wanted.closing)
