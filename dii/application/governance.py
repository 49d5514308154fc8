"""Governance: validators propose, vote, and after a delay the chain does what they decided.

Participants must be able to see what is coming and to leave before it comes. So a proposal that
more than two thirds of the voting power approve acts only after ``governance_delay``, and never on
an epoch that has begun (:mod:`dii.application.streams`). The delay itself, the most that an epoch
may mint and the most that the treasury may get of it are constitutional: no action changes them.

Power is counted when a vote arrives, by the validators in force then; a vote of who is no
validator any more counts nothing. Nothing happens merely because time passes: a proposal whose
time is over stays as it is, and everybody can tell; what is due is done by the next block.

An action names rules, policies and schedules of gas that software has, or has not. What a node's
software lacks must never decide what the chain does, or releases would split it. So a proposal is
accepted whatever it names (the client looks, and warns), and when it is due, a node that lacks
what it names stops before the block is committed (:class:`UpgradeNeeded`). Everything else that
can be wrong with an action is judged when it is due, by all nodes alike: it has *failed*.

Rejected: code as part of a proposal (a vote must not be able to run anything), and votes weighted
by balances, which would give the chain's rules to whoever earns the most under them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from dii.application import bank, gas, streams
from dii.application.actions import (
    Action,
    DenyGateway,
    RemoveStream,
    SetGas,
    SetScope,
    SetStream,
    SetValidator,
    SpendTreasury,
)
from dii.application.context import Context, epoch_from
from dii.application.contracts import BY_ITSELF, refuse_contract
from dii.application.messages import Propose, Vote
from dii.application.records import (
    AGENDA,
    CHAIN,
    COMING,
    ISSUANCES,
    LATEST,
    PROPOSALS,
    SCOPES,
    STREAMS,
    UPDATES,
    VALIDATORS,
    Agenda,
    Chain,
    Proposal,
    Scope,
)
from dii.application.settling import change_scope
from dii.crypto import address_of, format_address
from dii.errors import (
    BadAction,
    DiiError,
    MintingError,
    NotValidator,
    ProposalClosed,
    TransactionError,
    UnknownProposal,
    UnknownScope,
    UpgradeNeeded,
)
from dii.genesis import (
    MAX_SCOPES,
    MAX_STREAMS,
    MAX_VALIDATORS,
    NAME,
    TREASURY,
    check_metrics,
    check_stream,
)
from dii.ledger.state import State
from dii.minting import POLICIES, RULES, Spec
from dii.schema import METRICS, USAGE

Emit = Callable[[str, tuple[object, ...]], None]
"""Takes (index table, row)."""

NO_AGENDA: Final = Agenda(0, ())


def validators(state: State) -> dict[bytes, int]:
    """Return the voting power in force by the validators' public keys, in their order."""
    found = state.items(VALIDATORS)
    return {key: power for (key,), power in found if isinstance(key, bytes)}


def powers(state: State) -> dict[bytes, int]:
    """Return the voting power in force by the validators' addresses."""
    return {address_of(key): power for key, power in validators(state).items()}


def standing(chain: Chain, proposal: Proposal, now: int) -> str:
    """Return a proposal's outcome at a time, or ``expired``."""
    over = now >= proposal.opened + chain.voting_period
    return "expired" if proposal.outcome == "open" and over else proposal.outcome


# --- proposing and voting --------------------------------------------------------------------------


def propose(context: Context, message: Propose) -> bool:
    """Open a proposal; free for a validator that has no other one open for nothing."""
    state, sender = context.state, context.sender
    power = _require_validator(context)
    context.meter.charge(gas.BINDING)
    _check_form(message.action)
    agenda = state.get(AGENDA) or NO_AGENDA
    number = agenda.proposals
    latest = state.get(LATEST, sender)
    before = None if latest is None else state.get(PROPOSALS, latest)
    free = before is None or standing(context.chain, before, context.time) != "open"
    tally = 0, 0, sum(power.values())
    opened = Proposal(message.action, sender, context.time, (), tally, "open", 0)
    state.put(PROPOSALS, opened, number)
    state.put(AGENDA, replace(agenda, proposals=number + 1))
    if free:
        state.put(LATEST, number, sender)
    context.emit("governance", number, "proposed", sender, context.time, "")
    return free


def vote(context: Context, message: Vote) -> bool:
    """Vote on an open proposal, and count; the first vote of a validator on it is free."""
    state, sender, number = context.state, context.sender, message.proposal
    power = _require_validator(context)
    context.meter.charge(gas.BINDING)
    proposal = state.get(PROPOSALS, number)
    if proposal is None:
        raise UnknownProposal(number=number)
    status = standing(context.chain, proposal, context.time)
    if status != "open":
        raise ProposalClosed(number=number, status=status)
    others = tuple(one for one in proposal.votes if one[0] != sender and one[0] in power)
    free = all(who != sender for who, _ in proposal.votes)
    votes = *others, (sender, message.approve)
    yes, _, total = tally = count(votes, power)
    proposal = replace(proposal, votes=votes, tally=tally)
    context.emit(
        "governance", number, "approved" if message.approve else "opposed", sender, context.time, ""
    )
    if 3 * yes > 2 * total:
        acts = context.time + context.chain.governance_delay
        proposal = replace(proposal, outcome="passed", acts=acts)
        agenda = state.get(AGENDA) or NO_AGENDA
        state.put(AGENDA, replace(agenda, due=(*agenda.due, (acts, number))))
        context.emit("governance", number, "passed", sender, context.time, "")
    state.put(PROPOSALS, proposal, number)
    return free


def count(votes: tuple[tuple[bytes, bool], ...], power: dict[bytes, int]) -> tuple[int, int, int]:
    """Return the power of the votes for, of those against, and of all validators."""
    yes = sum(power.get(voter, 0) for voter, approves in votes if approves)
    no = sum(power.get(voter, 0) for voter, approves in votes if not approves)
    return yes, no, sum(power.values())


def _require_validator(context: Context) -> dict[bytes, int]:
    if context.state.get(VALIDATORS, context.public_key) is None:  # no sum of powers for strangers
        raise NotValidator(sender=format_address(context.sender))
    return powers(context.state)


def _check_form(action: Action) -> None:
    """Refuse what is wrong whatever the chain's state will be."""
    if isinstance(action, SetStream | SetScope) and not re.fullmatch(NAME, action.name):
        raise _bad(action, f"{action.name!r} is no name: small letters, digits, '-' and '_'")
    if isinstance(action, SetStream) and action.name == "treasury":
        raise _bad(action, "treasury is where a rest goes; take another name")
    if isinstance(action, SpendTreasury) and not action.amount:
        raise _bad(action, "an amount of zero moves nothing")


def _bad(action: Action, message: str) -> BadAction:
    return BadAction(action=type(action).__name__, message=message)


# --- carrying out ----------------------------------------------------------------------------------


def enact(
    state: State, chain: Chain, height: int, now: int, emit: Emit
) -> tuple[tuple[bytes, int], ...]:
    """Carry out, at a block's end, what is due; return the validators that change.

    The block after the next is the first that they sign.

    Raises
    ------
    UpgradeNeeded
        This release lacks what was decided; the block must not be committed.
    """
    for key, power in state.get(UPDATES) or ():
        if power:
            state.put(VALIDATORS, power, key)
        else:
            state.delete(VALIDATORS, key)
    state.delete(UPDATES)
    agenda = state.get(AGENDA) or NO_AGENDA
    due = [number for acts, number in agenda.due if acts <= now]
    if not due:
        return ()
    state.put(AGENDA, replace(agenda, due=agenda.due[len(due) :]))
    work = _Enactment(state, chain, height, now, emit)
    for number in due:
        work.carry_out(number)
    current = validators(state)
    updates = tuple(
        (key, power) for key, power in sorted(work.updates.items()) if current.get(key, 0) != power
    )
    if updates:
        state.put(UPDATES, updates)
    return updates


def trial(state: State, chain: Chain, height: int, now: int, action: Action) -> DiiError | None:
    """Return why an action could not be carried out now, or None; changes nothing."""
    mark = state.mark()
    try:
        _check_form(action)
        _Enactment(state, chain, height, now, lambda *_: None).act(action, 0)
    except DiiError as error:
        return error
    finally:
        state.revert(mark)
    return None


@dataclass(slots=True)
class _Enactment:
    """What one block carries out."""

    state: State
    chain: Chain
    height: int
    now: int
    emit: Emit
    updates: dict[bytes, int] = field(default_factory=dict)

    def carry_out(self, number: int) -> None:
        """Do what a proposal asks, or note that it cannot be done and why."""
        state = self.state
        proposal = state.get(PROPOSALS, number)
        assert proposal is not None
        mark, outcome, detail = state.mark(), "enacted", ""
        try:
            self.act(proposal.action, number)
        except (TransactionError, MintingError) as error:
            state.revert(mark)
            outcome, detail = "failed", str(error)
        state.put(PROPOSALS, replace(proposal, outcome=outcome), number)
        self.emit("governance", (number, outcome, proposal.proposer, self.now, detail))

    def act(self, action: Action, number: int) -> None:
        """Do what an action says; TransactionError or MintingError where it cannot be done."""
        match action:
            case SetStream():
                self._set_stream(action)
            case RemoveStream():
                self._remove_stream(action)
            case SetScope():
                self._set_scope(action)
            case SetValidator(key, power):
                self._set_validator(action, key, power)
            case SetGas(price, schedule):
                if schedule not in gas.VERSIONS:
                    self._lack(f"gas schedule {schedule}")
                chain = self.state.get(CHAIN)
                assert chain is not None
                self.state.put(CHAIN, replace(chain, gas_price=price, gas_schedule=schedule))
            case SpendTreasury(to, amount):
                to = bank.resolve(self.state, to)
                refuse_contract(self.state, to)
                bank.debit(self.state, TREASURY, amount)
                bank.credit(self.state, to, amount)
                self.emit("transfers", (BY_ITSELF, "treasury", TREASURY, to, amount))
            case DenyGateway():
                self._scope(action.scope)
        if isinstance(action, streams.Change):
            epoch = epoch_from(self.chain, self.now)
            streams.schedule(self.state, action.scope, epoch, number)

    def _lack(self, what: str) -> None:
        raise UpgradeNeeded(height=self.height, what=what)

    def _scope(self, name: str) -> Scope:
        scope = self.state.get(COMING, name) or self.state.get(SCOPES, name)
        if scope is None:
            raise UnknownScope(scope=name)
        return scope

    def _need(self, rule: Spec, policy: Spec) -> None:
        """Stop where this release lacks a version; to have it with other parameters is a fault."""
        for spec, known in ((rule, RULES.keys()), (policy, POLICIES.keys())):
            if (spec.name, spec.version) not in known:
                self._lack(f"{spec.name}/{spec.version}")

    def _set_stream(self, action: SetStream) -> None:
        scope, name = self._scope(action.scope), action.name
        self._need(action.rule, action.policy)
        check_stream(name, action.rule, action.policy, self.chain.max_mint_per_epoch)
        check_metrics(name, action.rule, action.scope, scope.metrics)
        if self._is_elsewhere(name, action.scope):
            raise _bad(action, f"another scope has, or had, a stream {name!r}; take another name")
        plan = streams.planned(self.state, action.scope)
        streams.amend(plan, action)
        if len(plan) > MAX_STREAMS:
            raise _bad(action, f"scope {action.scope!r} has {MAX_STREAMS} streams, the most")
        later = [one for one in plan if plan[one].position > plan[name].position]
        if action.rest not in (None, "treasury", *later):
            message = f"its rest goes to {action.rest!r}, neither treasury nor a later stream"
            raise _bad(action, message)

    def _is_elsewhere(self, name: str, scope: str) -> bool:
        """Tell whether issuances under a name are, were or will be another scope's."""
        stream = self.state.get(STREAMS, name)
        issuance = next(self.state.items(ISSUANCES, name), None)
        homes = {stream.scope} if stream else set()
        homes |= {issuance[1].scope} if issuance else set()
        homes |= {
            change.scope
            for _, change in streams.scheduled(self.state)
            if isinstance(change, SetStream) and change.name == name
        }
        return bool(homes - {scope})

    def _remove_stream(self, action: RemoveStream) -> None:
        plan = streams.planned(self.state, action.scope)
        if action.name not in plan:
            raise _bad(action, f"scope {action.scope!r} has no stream {action.name!r}")
        for name, stream in plan.items():
            if stream.rest == action.name:
                raise _bad(action, f"stream {name!r} hands its rest to it")

    def _set_scope(self, action: SetScope) -> None:
        state, name = self.state, action.name
        for names, known in ((action.metrics, METRICS), (action.usage, USAGE)):
            for metric in set(names) - known.keys():
                self._lack(f"metric {metric}")
            if list(names) != [one for one in known if one in names]:
                raise _bad(action, f"each metric once, in this order: {', '.join(known)}")
        if len(set(action.reporters)) < len(action.reporters):
            raise _bad(action, "a reporter stands twice; each has one voice")
        if state.get(SCOPES, name) is not None:
            rules = [(one, item.rule) for one, item in streams.planned(state, name).items()]
            rules += [(one, item.rule) for one, item in streams.current(state, name).items()]
            waiting = streams.scheduled(state, name)  # one may act in between, as reports are late
            rules += [(one.name, one.rule) for _, one in waiting if isinstance(one, SetStream)]
            for stream, rule in rules:
                check_metrics(stream, rule, name, action.metrics)
            change_scope(state, name, action.reporters, action.metrics, action.usage)
            return
        if sum(1 for _ in state.items(SCOPES)) >= MAX_SCOPES:
            raise _bad(action, f"there are {MAX_SCOPES} scopes, the most")
        first = epoch_from(self.chain, self.now)
        scope = Scope(action.reporters, action.metrics, action.usage, first)
        state.put(SCOPES, scope, name)

    def _set_validator(self, action: SetValidator, key: bytes, power: int) -> None:
        after = validators(self.state) | self.updates | {key: power}
        count = sum(map(bool, after.values()))
        if not 1 <= count <= MAX_VALIDATORS:
            raise _bad(action, f"{count} validators would be left, of 1 to {MAX_VALIDATORS}")
        self.updates[key] = power
