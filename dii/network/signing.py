"""Sending: messages signed with the keys of a home, put into blocks, and settled."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from dii import codec, crypto, errors
from dii.application import gas, messages
from dii.application.app import ALLOWANCE, TxResult
from dii.application.bank import account, resolve
from dii.application.handlers import most_gas
from dii.application.programs import LOAD_BYTE
from dii.application.records import ACCOUNTS, CODES, CONTRACTS, FORWARDS
from dii.contracts.gas import STORED, compile_gas
from dii.crypto import SigningKey
from dii.ledger import transaction
from dii.network.view import Opened
from dii.units import SECOND

VALID_FOR: Final = 1_000
"""Blocks for which a transaction signed here stays valid."""

CALL_GAS: Final = 300_000
"""What a call of a contract may use at most unless it is told."""
DEPLOY_GAS: Final = compile_gas(1) + STORED + 2 * LOAD_BYTE
"""Of a byte of a contract's tree."""
_AMOUNT: Final = re.compile(r"(?<= has )\d+|(?<= at )\d+|(?<= costs )\d+|\d+(?= is needed)")
"""What is money in what :class:`InsufficientFunds` and :class:`FeeUncovered` say."""


class Sending(Opened):
    """A home with its chain, to which transactions can be sent; only to look, if it is read-only."""

    def submit(self, sender: str, message: messages.Message, gas_limit: int | None = None) -> str:
        """Send a message of any kind; return the transaction's id in hex.

        Parameters
        ----------
        sender
            Name of the account whose key signs it.
        message
            As in :mod:`dii.application.messages`.
        gas_limit
            The most it may use; by default what such a message usually needs.

        Raises
        ------
        Refused
            The chain's reason.
        """
        return self._send({sender: [message]}, gas_limit=gas_limit)

    def bind(self) -> None:
        """Bind the gateways that a message may name; only a reporter can."""

    def key(self, sender: str) -> SigningKey:
        """Return the key that signs for an account.

        Raises
        ------
        NotClaimed, SignsElsewhere
            It is a claim account, which has none.
        BadName, KeyMissing
            As of :meth:`Home.key`.
        """
        try:
            return self.home.key(sender)
        except (errors.BadName, errors.KeyMissing):
            address = self.home.find("account", sender)
            if address is None or not self.home.is_claim(sender, address):
                raise
        forward = self.state.get(FORWARDS, address)
        if forward is None:
            raise errors.NotClaimed(name=sender, quoted=shlex.quote(sender))
        owner = self.home.label(forward)
        raise errors.SignsElsewhere(name=sender, owner=owner, quoted=shlex.quote(owner))

    def _send(
        self,
        said: Mapping[str, Sequence[messages.Message]],
        time: int | None = None,
        gas_limit: int | None = None,
    ) -> str:
        """Sign messages, put them into blocks, and settle until nothing is left to do."""
        solo = self.signer()
        if not any(said.values()) and self.view.header is not None:
            return ""
        waiting: dict[bytes, messages.Message] = {}
        for sender, unsigned in said.items():
            key = self.key(sender)
            nonce = account(self.state, key.address).nonce
            for at, message in enumerate(unsigned):
                waiting[self._sign(key, nonce + at, message, gas_limit)] = message
        last = next(reversed(waiting), b"")
        while waiting:
            placed, result = solo.produce(list(waiting), time)
            if not placed:
                wire, message = next(iter(waiting.items()))
                found = solo.node.app.check_tx(wire)
                raise self.refused(type(message).__name__, found)
            for wire, one in zip(placed, result.results):
                message = waiting.pop(wire)
                reports = isinstance(message, messages.ReportManifest | messages.ReportChunk)
                if reports and one.code == errors.EpochNotReportable.code:
                    continue  # the others' reports were enough to begin settling
                if one.code:
                    solo.settle()  # what failed took its fee: a header must carry that, too
                    raise self.refused(type(message).__name__, one)
        solo.settle()
        return crypto.sha256(last).hex() if last else ""

    def refused(self, kind: str, result: TxResult) -> errors.Refused:
        """Return why the chain refused a message, in names and whole units, and what that cost."""
        money = self.currency.format
        why = result.detail.removeprefix(f"{kind}: ") or "it fits into no block"
        if result.code in {errors.InsufficientFunds.code, errors.FeeUncovered.code}:
            why = _AMOUNT.sub(lambda found: money(int(found[0])), why)
        why = self.home.in_names(why)
        if why.endswith(ALLOWANCE):
            why += ": send it money, or wait"
        if result.fee:
            why += f"; this cost {money(result.fee)}"
        return errors.Refused(kind=kind, message=why)

    def _sign(
        self, key: SigningKey, nonce: int, message: messages.Message, gas_limit: int | None
    ) -> bytes:
        value = messages.to_value(message)
        size = 256 + len(codec.encode(value))
        limit = most_gas(message, size)
        to = resolve(self.state, message.to) if isinstance(message, messages.Transfer) else None
        if to is not None and self.state.get(ACCOUNTS, to) is not None:
            limit = gas.intrinsic(size)
        sign = partial(
            transaction.sign, key, self.genesis.hash, nonce, value,
            valid_until=self.height + VALID_FOR,
        )  # fmt: skip
        known = limit if gas_limit is None else gas_limit
        if known is not None:
            return sign(gas_limit=known)
        limit = gas.intrinsic(size) + gas.NEW_ACCOUNT + CALL_GAS
        if isinstance(message, messages.Deploy):
            limit += DEPLOY_GAS * len(message.code)
        contract = (
            self.state.get(CONTRACTS, message.contract)
            if isinstance(message, messages.Call)
            else None
        )
        code = contract and self.state.get(CODES, contract.code)
        limit += compile_gas(len(code)) if code else 0
        tried = sign(gas_limit=limit)
        try:  # half of what is reserved is paid for, used or not
            used = self.signer().node.app.estimate(tried, self.signer().time + SECOND)
        except errors.TransactionError:
            return tried
        return sign(gas_limit=min(limit, used + used // 2))
