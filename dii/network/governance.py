"""Governance as people handle it: actions in plain words, votes by name, what is pending.

A proposal is shown with what it would change *now*: a stream's policy beside the one that would
replace it. The chain accepts a proposal whatever it names, so that releases never split it; who
proposes and who votes is therefore told first what this release would make of it.
"""

from __future__ import annotations

from typing import Final

import pandas as pd

from dii import codec
from dii.application import actions, records, streams
from dii.application.governance import NO_AGENDA, count, powers, standing, trial
from dii.application.messages import Propose, Vote
from dii.crypto import address_of
from dii.errors import MintsTooMuch, UnknownStream
from dii.minting import POLICIES, RULES, Policy, ReceiptLeaf, Rule
from dii.minting.receipts import REASON_DENIED
from dii.network.home import SCOPE
from dii.network.receipt import describe, leaves_of
from dii.network.signing import Sending
from dii.network.view import Opened

VALIDATOR: Final = "validator"
"""The account that governs a network of one."""


def stream_change(
    network: Opened,
    name: str,
    *,
    scope: str | None = None,
    rule: Rule | None = None,
    policy: Policy | None = None,
    rest: str | None = None,
) -> actions.SetStream:
    """Return the action that changes a stream, or adds one; what is not given stays as it is.

    Parameters
    ----------
    name, scope
        Which stream; a new one is the first scope's unless it is said.
    rule, policy
        As of ``Network.create``.
    rest
        Where what is left goes: a later stream of the scope, ``treasury``, or ``nobody``.

    Raises
    ------
    UnknownStream
        There is no such stream, and too little is given to add one.
    """
    was, money = network.state.get(records.STREAMS, name), network.currency
    scope = scope or (was.scope if was else SCOPE)
    plan = streams.planned(network.state, scope).get(name)
    weighed = rule.resolve(money).spec() if rule else plan.rule if plan else None
    paid = policy.resolve(money).spec() if policy else plan.policy if plan else None
    if weighed is None or paid is None:
        raise UnknownStream(name=name, known=", ".join(streams.planned(network.state, scope)))
    kept = plan.rest if plan else None
    return actions.SetStream(scope, name, weighed, paid, None if rest == "nobody" else rest or kept)


def propose(network: Sending, action: actions.Action, *, by: str = VALIDATOR) -> int:
    """Propose an action; return the proposal's number.

    Parameters
    ----------
    action
        One of ``dii.actions``, or from :meth:`stream_change`.
    by
        The validator who proposes it.

    Raises
    ------
    Refused
        The chain's reason.
    """
    number = (network.state.get(records.AGENDA) or NO_AGENDA).proposals
    network.submit(by, Propose(action))
    return number


def vote(network: Sending, number: int, *, by: str = VALIDATOR, approve: bool = True) -> str:
    """Vote on a proposal; return the transaction's id in hex."""
    return network.submit(by, Vote(number, approve))


def proposals(network: Opened) -> pd.DataFrame:
    """Return every proposal: what it changes, who approves it, how it stands, and when it acts.

    ``yes``, ``no`` and ``total`` are voting power: now where the proposal is open, else as it was
    counted at the last vote. ``note`` says why one failed, or would as things stand.
    """
    state, names = network.state, network.home.names("account")
    power = powers(state)
    query = "SELECT proposal, detail FROM governance WHERE event = 'failed'"
    failed = dict(network.view.index.query(query))
    header = network.view.header
    now = header.time if header else 0
    rows = []
    for (number,), item in state.items(records.PROPOSALS):
        status = standing(network.parameters, item, now)
        pending = status in {"open", "passed"}
        yes, no, total = count(item.votes, power) if status == "open" else item.tally
        rows.append(
            {
                "number": number,
                "what": in_words(network, item.action, pending=pending),
                "proposer": network.home.label(item.proposer, names),
                "yes": yes,
                "no": no,
                "total": total,
                "status": status,
                "acts": item.acts or None,
                "expires": item.opened + network.parameters.voting_period,
                "note": concerns(network, item.action) if pending else failed.get(number, ""),
            }
        )
    columns = [
        "number", "what", "proposer", "yes", "no", "total", "status", "acts", "expires", "note",
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    for name in ("acts", "expires"):
        table[name] = pd.to_datetime(table[name], unit="us", utc=True)
    return table


def denied(network: Opened, epoch: int) -> frozenset[bytes]:
    """Return the hashes of the gateways that an epoch denies, or as decided will deny, payment."""
    state = network.state
    if epoch < network.settled:
        issued = state.items(records.ISSUANCES)
        names = [str(name) for (name, at), one in issued if (at, one.scope) == (epoch, SCOPE)]
        rows = [row for name in names for row in leaves_of(network, epoch, name)]
        leaves = [codec.loads(ReceiptLeaf, leaf) for _, leaf in rows]
        return frozenset(leaf.gateway for leaf in leaves if leaf.reason == REASON_DENIED)
    until = {key: item.until for (_, key), item in state.items(records.DENIED, SCOPE)}
    for at, change in streams.scheduled(state, SCOPE):
        if at <= epoch and isinstance(change, actions.DenyGateway):
            until[change.gateway] = change.until
    return frozenset(key for key, end in until.items() if end > epoch and isinstance(key, bytes))


def in_words(network: Opened, action: actions.Action, *, pending: bool = True) -> str:
    """Return what an action changes; of one that is pending also what is there now."""
    state, label = network.state, network.home.label
    match action:
        case actions.SetStream():
            plan = streams.planned(state, action.scope) if pending else {}
            return _stream(network, action, plan.get(action.name))
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
            return f"validator {label(address_of(key))}: power {before}{power}"
        case actions.SetGas(price, schedule):
            before = f"{network.parameters.gas_price} -> " if pending else ""
            return f"gas price {before}{price} {network.currency.unit}, schedule {schedule}"
        case actions.SpendTreasury(to, amount):
            return f"pay {network.currency.format(amount)} from the treasury to {label(to)}"
        case actions.DenyGateway():
            name = network.home.names("gateway").get(action.gateway, action.gateway.hex())
            seen = f"evidence {action.evidence.hex()[:16]}…"
            return f"deny gateway {name} until epoch {action.until}, {seen}"


def _stream(network: Opened, action: actions.SetStream, was: records.Stream | None) -> str:
    def parts(stream: actions.SetStream | records.Stream) -> dict[str, str]:
        return {
            "rule": describe(stream.rule, RULES, network.currency),
            "policy": describe(stream.policy, POLICIES, network.currency),
            "rest": stream.rest or "nobody",
        }

    now = parts(action)
    if was is None:
        said = ", ".join(f"{part} {text}" for part, text in now.items())
        return f"stream {action.name} of scope {action.scope}: {said}"
    before = parts(was)
    changed = [f"{part} {before[part]} -> {now[part]}" for part in now if before[part] != now[part]]
    return f"stream {action.name}: {', '.join(changed) or 'nothing changes'}"


def concerns(network: Opened, action: actions.Action) -> str:
    """Return what would keep an action from being carried out as things stand; empty if nothing."""
    header = network.header()
    found = trial(network.state, network.parameters, header.height + 1, header.time, action)
    if isinstance(found, MintsTooMuch):
        return f"{found} {network.currency.unit}, which no vote changes"
    if found is not None:
        return network.home.in_names(str(found))
    match action:
        case actions.SetValidator(key, power) if power and network.home.key_of(key) is None:
            return "its key is not here: this home alone may be too few to sign blocks"
    return ""
