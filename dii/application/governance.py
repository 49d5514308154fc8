"""Governance: validators propose changes and vote, and the chain enacts decisions after a delay.

Participants must be able to see a change in advance and to leave before it acts. So a proposal that
more than two thirds of the voting power approve acts only after ``governance_delay``, and never on
an epoch that has begun (:mod:`dii.application.streams`). The delay itself, the most that an epoch
may mint and the most that the treasury may get of it are constitutional: no action changes them.

Power is counted when a vote arrives, by the validators in force then; votes of former validators
count nothing. Nothing happens merely because time passes: an expired proposal stays as it is; a
proposal that is due is carried out by the next block.

An action names rules, policies and gas schedules, which a release may or may not have. A release
that lacks one must not decide differently from others, or releases would split the chain. So a
proposal is accepted whatever it names (the client checks, and warns), and when it is due, a node
that lacks a named version stops before the block is committed (:class:`UpgradeNeeded`). All other
faults of an action are found when it is due, by all nodes alike: the proposal has *failed*.

Rejected: code as part of a proposal (a vote must not be able to run anything), and votes weighted
by balances, which would give the chain's rules to those who earn the most under them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from dii import crypto, errors, genesis
from dii.application import actions, bank, contracts, epochs, gas, messages, records, streams
from dii.application.context import Context
from dii.ledger.state import State
from dii.minting import POLICIES, RULES
from dii.schema import METRICS, USAGE

NO_AGENDA: Final = records.Agenda(0, ())
Updates = dict[bytes, int]
"""Voting power of validators that a block changes, by public key."""


def validators(state: State) -> dict[bytes, int]:
    """Return the voting power in force by the validators' public keys, in the order of keys."""
    found = state.items(records.VALIDATORS)
    return {key: power for (key,), power in found if isinstance(key, bytes)}


def next_validators(state: State) -> dict[bytes, int]:
    """Return the voting power of the block after the next, in the order of keys."""
    updates = state.get(records.UPDATES) or ()
    changed = validators(state) | dict(updates)
    return {key: power for key, power in sorted(changed.items()) if power}


def powers(state: State) -> dict[bytes, int]:
    """Return the voting power in force by the validators' addresses."""
    return {crypto.address_of(key): power for key, power in validators(state).items()}


def standing(chain: records.Chain, proposal: records.Proposal, now: int) -> str:
    """Return a proposal's outcome at a time, or ``expired``."""
    over = now >= proposal.opened + chain.voting_period
    return "expired" if proposal.outcome == "open" and over else proposal.outcome


# --- proposing and voting ------------------------------------------------------------------------


def propose(context: Context, message: messages.Propose) -> bool:
    """Open a proposal; free for a validator that has no other free proposal open."""
    state, sender = context.state, context.sender
    power = _require_validator(context)
    context.meter.charge(gas.BINDING)
    _check_form(message.action)
    agenda = state.get(records.AGENDA) or NO_AGENDA
    number = agenda.proposals
    latest = state.get(records.LATEST, sender)
    before = None if latest is None else state.get(records.PROPOSALS, latest)
    free = before is None or standing(context.chain, before, context.time) != "open"
    tally = 0, 0, sum(power.values())
    opened = records.Proposal(message.action, sender, context.time, (), tally, "open", 0)
    state.put(records.PROPOSALS, opened, number)
    state.put(records.AGENDA, replace(agenda, proposals=number + 1))
    if free:
        state.put(records.LATEST, number, sender)
    context.emit("governance", number, "proposed", sender, context.time, "")
    return free


def vote(context: Context, message: messages.Vote) -> bool:
    """Vote on an open proposal, and count the votes; a validator's first vote on it is free."""
    state, sender, number = context.state, context.sender, message.proposal
    power = _require_validator(context)
    context.meter.charge(gas.BINDING)
    proposal = state.get(records.PROPOSALS, number)
    if proposal is None:
        raise errors.UnknownProposal(number=number)
    status = standing(context.chain, proposal, context.time)
    if status != "open":
        raise errors.ProposalClosed(number=number, status=status)
    others = tuple(cast for cast in proposal.votes if cast[0] != sender and cast[0] in power)
    free = all(voter != sender for voter, _ in proposal.votes)
    votes = *others, (sender, message.approve)
    yes, _, total = tally = count(votes, power)
    proposal = replace(proposal, votes=votes, tally=tally)
    event = "approved" if message.approve else "opposed"
    context.emit("governance", number, event, sender, context.time, "")
    if 3 * yes > 2 * total:
        acts = context.time + context.chain.governance_delay
        proposal = replace(proposal, outcome="passed", acts=acts)
        agenda = state.get(records.AGENDA) or NO_AGENDA
        state.put(records.AGENDA, replace(agenda, due=(*agenda.due, (acts, number))))
        context.emit("governance", number, "passed", sender, context.time, "")
    state.put(records.PROPOSALS, proposal, number)
    return free


def count(votes: tuple[tuple[bytes, bool], ...], power: dict[bytes, int]) -> tuple[int, int, int]:
    """Return the power of the votes for a proposal, of those against, and of all validators."""
    yes = sum(power.get(voter, 0) for voter, approves in votes if approves)
    no = sum(power.get(voter, 0) for voter, approves in votes if not approves)
    return yes, no, sum(power.values())


def _require_validator(context: Context) -> dict[bytes, int]:
    known = context.state.get(records.VALIDATORS, context.public_key) is not None
    if not known:  # the powers are not summed up for strangers
        raise errors.NotValidator(sender=crypto.format_address(context.sender))
    return powers(context.state)


def _check_form(action: actions.Action) -> None:
    """Refuse an action that is wrong in any state of the chain."""
    name = action.name if isinstance(action, actions.SetStream | actions.SetScope) else None
    if name is not None and not re.fullmatch(genesis.NAME, name):
        raise _bad(action, f"{name!r} is not a name; use lower-case letters, digits, '-' and '_'")
    if isinstance(action, actions.SetStream) and action.name == "treasury":
        raise _bad(action, "the name treasury is reserved; choose another name")
    if isinstance(action, actions.SpendTreasury) and not action.amount:
        raise _bad(action, "the amount is zero")


def _bad(action: actions.Action, message: str) -> errors.BadAction:
    return errors.BadAction(action=type(action).__name__, message=message)


# --- carrying out --------------------------------------------------------------------------------


class Misbehaviour(NamedTuple):
    """Address of a validator that a block has evidence against, and the height of the evidence."""

    validator: bytes
    height: int


REMOVAL: Final = 2
"""Blocks from a decision about a validator to the first block that is signed accordingly."""


def enact(
    context: Context, misbehaviour: Iterable[tuple[bytes, int]] = ()
) -> tuple[tuple[bytes, int], ...]:
    """Carry out what is due at a block's end; return the validators that change.

    The block after the next is the first that these sign. The first evidence against a validator
    removes it, unless none would be left; more evidence of the time up to its removal changes
    nothing. Governance can bring it back.

    Raises
    ------
    UpgradeNeeded
        This release lacks what was decided; the block must not be committed.
    """
    state = context.state
    for key, power in state.get(records.UPDATES) or ():
        if power:
            state.put(records.VALIDATORS, power, key)
        else:
            state.delete(records.VALIDATORS, key)
    state.delete(records.UPDATES)
    agenda = state.get(records.AGENDA) or NO_AGENDA
    due = [number for acts, number in agenda.due if acts <= context.time]
    changed: Updates = {}
    if due:
        state.put(records.AGENDA, replace(agenda, due=agenda.due[len(due) :]))
    for number in due:
        carry_out(context, number, changed)
    for validator, height in misbehaviour:  # last, so that no decision of the block undoes it
        _remove(context, changed, validator, height)
    if not changed:
        return ()
    current = validators(state)
    updates = tuple(
        (key, power) for key, power in sorted(changed.items()) if current.get(key, 0) != power
    )
    if updates:
        state.put(records.UPDATES, updates)
    return updates


def _remove(context: Context, updates: Updates, validator: bytes, height: int) -> None:
    """Take its power from a validator that misbehaved at a height."""
    state = context.state
    known = state.get(records.MISBEHAVED, validator)
    keys = dict[bytes, bytes]((crypto.address_of(key), key) for key in validators(state))
    if validator not in keys or (known is not None and height < known + REMOVAL):
        return
    state.put(records.MISBEHAVED, context.height, validator)
    context.emit("misbehaviour", validator, height)
    if any((validators(state) | updates | {keys[validator]: 0}).values()):
        updates[keys[validator]] = 0


def trial(
    state: State, chain: records.Chain, height: int, now: int, action: actions.Action
) -> errors.DiiError | None:
    """Return the error of carrying out an action now, or None; changes nothing."""
    mark = state.mark()
    try:
        _check_form(action)
        act(Context(state, chain, height, now), action, 0, {})
    except errors.DiiError as error:
        return error
    finally:
        state.revert(mark)
    return None


def carry_out(context: Context, number: int, updates: Updates) -> None:
    """Carry out the action of a proposal, or note why it failed."""
    state = context.state
    proposal = state.require(records.PROPOSALS, number)
    mark, outcome, detail = state.mark(), "enacted", ""
    try:
        act(context, proposal.action, number, updates)
    except (errors.TransactionError, errors.MintingError) as error:
        state.revert(mark)
        outcome, detail = "failed", str(error)
    state.put(records.PROPOSALS, replace(proposal, outcome=outcome), number)
    row = number, outcome, proposal.proposer, context.time, detail
    context.emit("governance", *row)


def act(context: Context, action: actions.Action, number: int, updates: Updates) -> None:
    """Carry out an action; TransactionError or MintingError if it fails."""
    match action:
        case actions.SetStream():
            _set_stream(context, action)
        case actions.RemoveStream():
            _remove_stream(context, action)
        case actions.SetScope():
            _set_scope(context, action)
        case actions.SetValidator():
            _set_validator(context, action, updates)
        case actions.SetGas(price, schedule):
            if schedule not in gas.VERSIONS:
                _lack(context, f"gas schedule {schedule}")
            chain = context.state.require(records.CHAIN)
            chain = replace(chain, gas_price=price, gas_schedule=schedule)
            context.state.put(records.CHAIN, chain)
        case actions.SpendTreasury(to, amount):
            to = bank.resolve(context.state, to)
            contracts.refuse_contract(context.state, to)
            context.pay("treasury", genesis.TREASURY, to, amount)
        case actions.DenyGateway():
            _scope(context, action.scope)
    if isinstance(action, streams.Change):
        epoch = epochs.first_from(context.chain, context.time)
        streams.schedule(context.state, action.scope, epoch, number)


def _lack(context: Context, what: str) -> None:
    raise errors.UpgradeNeeded(height=context.height, what=what)


def _scope(context: Context, name: str) -> records.Scope:
    scope = context.state.get(records.COMING, name) or context.state.get(records.SCOPES, name)
    if scope is None:
        raise errors.UnknownScope(scope=name)
    return scope


def _set_stream(context: Context, action: actions.SetStream) -> None:
    scope, name = _scope(context, action.scope), action.name
    # To have a version with other parameters is a fault of the action.
    for spec, known in ((action.rule, RULES.keys()), (action.policy, POLICIES.keys())):
        if (spec.name, spec.version) not in known:
            _lack(context, f"{spec.name}/{spec.version}")
    most = context.chain.max_mint_per_epoch
    genesis.check_stream(name, action.rule, action.policy, most)
    genesis.check_metrics(name, action.rule, action.scope, scope.metrics)
    if _is_elsewhere(context, name, action.scope):
        raise _bad(action, f"stream {name!r} is or was in another scope; choose another name")
    plan = streams.planned(context.state, action.scope)
    streams.amend(plan, action)
    if len(plan) > genesis.MAX_STREAMS:
        raise _bad(action, f"a scope has at most {genesis.MAX_STREAMS} streams; remove one first")
    later = [other for other in plan if plan[other].position > plan[name].position]
    if action.rest not in (None, "treasury", *later):
        raise _bad(action, f"rest {action.rest!r} is neither treasury nor a later stream")


def _is_elsewhere(context: Context, name: str, scope: str) -> bool:
    """Tell whether a stream of this name is, was or will be in another scope."""
    stream = context.state.get(records.STREAMS, name)
    issuance = next(context.state.items(records.ISSUANCES, name), None)
    homes = {stream.scope} if stream else set()
    homes |= {issuance[1].scope} if issuance else set()
    homes |= {
        change.scope
        for _, change in streams.scheduled(context.state)
        if isinstance(change, actions.SetStream) and change.name == name
    }
    return bool(homes - {scope})


def _remove_stream(context: Context, action: actions.RemoveStream) -> None:
    plan = streams.planned(context.state, action.scope)
    if action.name not in plan:
        raise _bad(action, f"scope {action.scope!r} has no stream {action.name!r}")
    for name, stream in plan.items():
        if stream.rest == action.name:
            raise _bad(
                action, f"stream {name!r} passes its rest to {action.name!r}; change that first"
            )


def _set_scope(context: Context, action: actions.SetScope) -> None:
    state, name = context.state, action.name
    for names, known in ((action.metrics, METRICS), (action.usage, USAGE)):
        for metric in set(names) - known.keys():
            _lack(context, f"metric {metric}")
        if list(names) != [metric for metric in known if metric in names]:
            raise _bad(action, f"list each metric once, in this order: {', '.join(known)}")
    if len(set(action.reporters)) < len(action.reporters):
        raise _bad(action, "duplicate reporter; each has one vote")
    if state.get(records.SCOPES, name) is not None:
        waiting = streams.scheduled(state, name)  # may act in between, as reports are late
        plans: list[tuple[str, records.Stream | actions.SetStream]] = [
            *streams.planned(state, name).items(),
            *streams.current(state, name).items(),
            *((item.name, item) for _, item in waiting if isinstance(item, actions.SetStream)),
        ]
        for stream, plan in plans:
            genesis.check_metrics(stream, plan.rule, name, action.metrics)
        epochs.change_scope(state, action)
        return
    if sum(1 for _ in state.items(records.SCOPES)) >= genesis.MAX_SCOPES:
        raise _bad(action, f"there are already {genesis.MAX_SCOPES} scopes, the maximum")
    first = epochs.first_from(context.chain, context.time)
    scope = records.Scope(action.reporters, action.metrics, action.usage, first)
    state.put(records.SCOPES, scope, name)


def _set_validator(context: Context, action: actions.SetValidator, updates: Updates) -> None:
    after = validators(context.state) | updates | {action.public_key: action.power}
    count = sum(map(bool, after.values()))
    if not 1 <= count <= genesis.MAX_VALIDATORS:
        raise _bad(
            action, f"{count} validators would remain; 1 to {genesis.MAX_VALIDATORS} are needed"
        )
    updates[action.public_key] = action.power
