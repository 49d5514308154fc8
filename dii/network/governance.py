"""Governance for people: actions in plain words, votes by name, pending proposals.

A proposal is shown with the change that it would make *now*: a stream's policy beside its
replacement. The chain accepts a proposal whatever it names, so that releases never split the chain;
proposers and voters are therefore told first how this release would execute it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dii import codec, crypto, errors
from dii.application import actions, messages, records, streams
from dii.application import governance as chain
from dii.minting import Policy, ReceiptLeaf, Rule
from dii.minting.receipts import REASON_DENIED
from dii.network import receipt, tables
from dii.network.home import SCOPE
from dii.network.signing import Signing
from dii.network.view import View

VALIDATOR: Final = "validator"
"""The account that governs a network of one."""


def stream_change(
    network: View,
    name: str,
    *,
    scope: str | None = None,
    rule: Rule | None = None,
    policy: Policy | None = None,
    rest: str | None = None,
) -> actions.SetStream:
    """Return the action that changes or adds a stream; parameters not given stay as they are.

    Parameters
    ----------
    name, scope
        The stream and its scope; a new stream is of the first scope by default.
    rule, policy
        As of ``Network.create``.
    rest
        Destination of what is left: a later stream of the scope, ``treasury``, or ``nobody``.

    Raises
    ------
    UnknownStream
        There is no such stream, and adding it takes a rule and a policy.
    """
    was, money = network.state.get(records.STREAMS, name), network.currency
    scope = scope or (was.scope if was else SCOPE)
    planned = streams.planned(network.state, scope)
    now = planned.get(name)
    weighed = rule.resolve(money).spec() if rule else now.rule if now else None
    paid = policy.resolve(money).spec() if policy else now.policy if now else None
    if weighed is None or paid is None:
        raise errors.UnknownStream(name=name, known=", ".join(planned))
    kept = now.rest if now else None
    return actions.SetStream(scope, name, weighed, paid, None if rest == "nobody" else rest or kept)


def propose(network: Signing, action: actions.Action, *, by: str = VALIDATOR) -> int:
    """Propose an action; return the proposal's number.

    Parameters
    ----------
    action
        One of ``dii.actions``, or from :meth:`stream_change`.
    by
        Name of the validator that proposes it.

    Raises
    ------
    Refused
        The chain's reason.
    """
    number = (network.state.get(records.AGENDA) or chain.NO_AGENDA).proposals
    network.submit(by, messages.Propose(action))
    return number


def vote(network: Signing, number: int, *, by: str = VALIDATOR, approve: bool = True) -> str:
    """Vote on a proposal; return the transaction's id in hex."""
    return network.submit(by, messages.Vote(number, approve))


@tables.table("number what proposer yes no total status acts expires note")
def proposals(network: View) -> Iterable[tables.Row]:
    """Return every proposal: its change, its proposer, votes, status, and when it acts.

    ``yes``, ``no`` and ``total`` are voting power: now where the proposal is open, else as it was
    counted at the last vote. ``note`` says why a proposal failed, or why it would fail now.
    """
    state, header = network.state, network.view.header
    query = "SELECT proposal, detail FROM governance WHERE event = 'failed'"
    failed, power = dict(network.view.index.query(query)), chain.powers(state)
    for (number,), item in state.items(records.PROPOSALS):
        status = chain.standing(network.parameters, item, header.time if header else 0)
        pending = status in tables.PENDING
        what = in_words(network, item.action, pending=pending)
        tally = chain.count(item.votes, power) if status == "open" else item.tally
        times = item.acts or None, item.opened + network.parameters.voting_period
        note = concerns(network, item.action) if pending else failed.get(number, "")
        yield number, what, item.proposer, *tally, status, *times, note


def denied(network: View, epoch: int) -> frozenset[bytes]:
    """Return the hashes of gateways that are denied payment in an epoch, settled or to come."""
    state = network.state
    if epoch < network.settled:
        issued = state.items(records.ISSUANCES)
        names = [str(name) for (name, at), one in issued if (at, one.scope) == (epoch, SCOPE)]
        rows = [row for name in names for row in receipt.leaves_of(network, epoch, name)]
        leaves = [codec.loads(ReceiptLeaf, leaf) for _, leaf in rows]
        return frozenset(leaf.gateway for leaf in leaves if leaf.reason == REASON_DENIED)
    until = {key: item.until for (_, key), item in state.items(records.DENIED, SCOPE)}
    for at, change in streams.scheduled(state, SCOPE):
        if at <= epoch and isinstance(change, actions.DenyGateway):
            until[change.gateway] = change.until
    return frozenset(key for key, end in until.items() if end > epoch and isinstance(key, bytes))


def in_words(network: View, action: actions.Action, *, pending: bool = True) -> str:
    """Return the change that an action makes; of a pending action also the present values."""
    state, label = network.state, network.home.label
    match action:
        case actions.SetStream():
            planned = streams.planned(state, action.scope) if pending else {}
            return _stream(network, action, planned.get(action.name))
        case actions.RemoveStream():
            return f"end stream {action.name} of scope {action.scope}"
        case actions.SetScope():
            who = ", ".join(map(label, action.reporters))
            what = ", ".join((*action.metrics, *(f"usage.{name}" for name in action.usage)))
            new = "" if state.get(records.SCOPES, action.name) else "new "
            return f"{new}scope {action.name}: {who} report {what}"
        case actions.SetValidator(key, power):
            now = state.get(records.VALIDATORS, key)
            before = f"{now or 0} -> " if pending else ""
            return f"validator {label(crypto.address_of(key))}: power {before}{power}"
        case actions.SetGas(price, schedule):
            before = f"{network.parameters.gas_price} -> " if pending else ""
            return f"gas price {before}{price} {network.currency.unit}, schedule {schedule}"
        case actions.SpendTreasury(to, amount):
            return f"pay {network.currency.format(amount)} from the treasury to {label(to)}"
        case actions.DenyGateway():
            name = network.home.names("gateway").get(action.gateway, action.gateway.hex())
            seen = f"evidence {action.evidence.hex()[:16]}…"
            return f"deny gateway {name} until epoch {action.until}, {seen}"
    raise TypeError(f"no words for {action}")


def _stream(network: View, action: actions.SetStream, was: records.Stream | None) -> str:
    def parts(stream: actions.SetStream | records.Stream) -> dict[str, str]:
        return {
            "rule": receipt.describe(stream.rule, network.currency),
            "policy": receipt.describe(stream.policy, network.currency),
            "rest": stream.rest or "nobody",
        }

    now = parts(action)
    if was is None:
        parts_text = ", ".join(f"{part} {text}" for part, text in now.items())
        return f"stream {action.name} of scope {action.scope}: {parts_text}"
    before = parts(was)
    changed = [f"{part} {before[part]} -> {now[part]}" for part in now if before[part] != now[part]]
    return f"stream {action.name}: {', '.join(changed) or 'nothing changes'}"


def concerns(network: View, action: actions.Action) -> str:
    """Return why an action would fail now; empty if it would not."""
    header = network.header()
    found = chain.trial(network.state, network.parameters, header.height + 1, header.time, action)
    if isinstance(found, errors.MintsTooMuch):
        return f"{found} {network.currency.unit}, which no vote changes"
    if found is not None:
        return network.home.in_names(str(found))
    match action:
        case actions.SetValidator(key, power) if power and network.home.key_of(key) is None:
            return "its key is not here: this home alone may be too few to sign blocks"
    return ""
