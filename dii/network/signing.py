"""Messages signed with the keys of a home, put into blocks, and settled."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from dii import codec, crypto, errors
from dii.application import app, bank, gas, handlers, messages, records
from dii.consensus.engine import NotIncluded
from dii.contracts.gas import STORED, compile_gas
from dii.ledger import transaction
from dii.network.view import View
from dii.units import SECOND

Batches = Mapping[str, Sequence[messages.Message]]
"""Messages by the name of the account whose key signs them."""

VALID_FOR: Final = 1_000
"""Blocks for which a transaction signed here stays valid."""

CALL_GAS: Final = 300_000
"""Default gas of a contract's call."""
DEPLOY_GAS: Final = compile_gas(1) + STORED + 2 * gas.LOAD_BYTE
"""Default gas of a byte of a contract's tree."""
_OF_MONEY: Final = {one.code: one.says for one in (errors.InsufficientFunds, errors.FeeUncovered)}
"""Sentences in which people see amounts in whole units."""
_AMOUNTS: Final = {"balance", "fee", "gas_price", "needed"}
"""Names of the amounts in these sentences."""


class Signing(View):
    """Network that signs and sends transactions, unless it is read-only."""

    def submit(self, sender: str, message: messages.Message, gas_limit: int | None = None) -> str:
        """Send a message of any kind; return the transaction's id in hex.

        Parameters
        ----------
        sender
            Name of the account whose key signs it.
        message
            As in :mod:`dii.application.messages`.
        gas_limit
            Gas limit of the transaction; by default what such a message usually needs.

        Raises
        ------
        Refused
            The chain's reason.
        """
        return self._send({sender: [message]}, gas_limit=gas_limit)

    def bind(self) -> None:
        """Bind the gateways that a message may name; does nothing without a reporter."""

    def key(self, sender: str) -> crypto.SigningKey:
        """Return the key that signs for an account.

        Raises
        ------
        NotClaimed, SignsElsewhere
            It is a claim account, which has no key.
        BadName, KeyMissing
            As of :meth:`Home.key`.
        """
        try:
            return self.home.key(sender)
        except (errors.BadName, errors.KeyMissing):
            address = self.home.find("account", sender)
            if address is None or not self.home.is_claim(sender, address):
                raise
        forward = self.state.get(records.FORWARDS, address)
        if forward is None:
            raise errors.NotClaimed(name=sender, quoted=shlex.quote(sender))
        owner = self.home.label(forward)
        raise errors.SignsElsewhere(name=sender, owner=owner, quoted=shlex.quote(owner))

    def _send(
        self, unsigned: Batches, time: int | None = None, gas_limit: int | None = None
    ) -> str:
        """Sign messages, put them into blocks, and settle until nothing is left to do."""
        engine = self.signer()
        if not any(unsigned.values()) and self.view.header is not None:
            return ""
        signed: dict[bytes, messages.Message] = {}
        for sender, batch in unsigned.items():
            key = self.key(sender)
            nonce = bank.account(self.state, key.address).nonce
            for at, message in enumerate(batch):
                signed[self._sign(key, nonce + at, message, gas_limit)] = message
        try:
            results = engine.include(list(signed), time) if signed else []
        except NotIncluded as error:
            raise self.refused(type(signed[error.wire]).__name__, error.result) from None
        engine.settle()  # what failed took its fee: a header must carry that, too
        for message, result in zip(signed.values(), results):
            reports = isinstance(message, messages.ReportManifest | messages.ReportChunk)
            # The others' reports may have been enough to begin settling.
            if result.code and not (reports and result.code == errors.EpochNotReportable.code):
                raise self.refused(type(message).__name__, result)
        return crypto.sha256(next(reversed(signed))).hex() if signed else ""

    def refused(self, kind: str, result: app.TxResult) -> errors.Refused:
        """Return the error for a refused message, with names, whole units and the fee."""
        money = self.currency.format
        why = result.detail.removeprefix(f"{kind}: ") or "it does not fit into a block"
        if says := _OF_MONEY.get(result.code):
            whole = {
                name: money(amount) if name in _AMOUNTS and isinstance(amount, int) else amount
                for name, amount in result.numbers.items()
            }
            why = why.replace(says.format(**result.numbers), says.format(**whole))
        why = self.home.in_names(why)
        if why.endswith(app.ALLOWANCE):
            why += ": send it money, or wait"
        if result.fee:
            why += f"; this cost {money(result.fee)}"
        return errors.Refused(kind=kind, message=why)

    def _sign(
        self, key: crypto.SigningKey, nonce: int, message: messages.Message, gas_limit: int | None
    ) -> bytes:
        """Sign a message, with the gas that its kind needs, or that a trial execution used."""
        value, state = messages.to_value(message), self.state
        size = 256 + len(codec.encode(value))
        known = handlers.most_gas(message, size) if gas_limit is None else gas_limit
        sign = partial(
            transaction.sign, key, self.genesis.hash, nonce, value,
            valid_until=self.height + VALID_FOR,
        )  # fmt: skip
        limit = gas.intrinsic(size) + gas.NEW_ACCOUNT + CALL_GAS
        match message:
            case messages.Transfer(to) if gas_limit is None:
                if state.get(records.ACCOUNTS, bank.resolve(state, to)) is not None:
                    known = gas.intrinsic(size)
            case messages.Deploy(code=code):
                limit += DEPLOY_GAS * len(code)
            case messages.Call(contract):
                called = state.get(records.CONTRACTS, contract)
                stored = called and state.get(records.CODES, called.code)
                limit += compile_gas(len(stored)) if stored else 0
        if known is not None:
            return sign(gas_limit=known)
        tried = sign(gas_limit=limit)
        try:  # half of the reserved gas is paid for, used or not
            used = self.signer().node.app.estimate(tried, self.signer().time + SECOND)
        except errors.TransactionError:
            return tried
        return sign(gas_limit=min(limit, used + used // 2))
