"""The division of uplinks against the Shapley value, from the values of all coalitions."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii.schema import SHAPLEY_UNIT, UNATTRIBUTED
from tests.sites import Uplink, split


def shapley(audiences: list[frozenset[str]]) -> dict[str, Fraction]:
    """Shapley value by its definition: the mean value that a player adds to a coalition.

    A coalition is worth the uplinks that at least one of its members heard. Shapley, "A value for
    n-person games" (1953).
    """
    players = sorted(frozenset().union(*audiences))
    coalitions = [
        frozenset(c) for size in range(len(players) + 1) for c in combinations(players, size)
    ]
    worth = {c: sum(not c.isdisjoint(audience) for audience in audiences) for c in coalitions}
    value = {}
    for player in players:
        added = Counter[int]()
        for coalition in coalitions:
            if player not in coalition:
                added[len(coalition)] += worth[coalition | {player}] - worth[coalition]
        value[player] = sum(
            Fraction(total, len(players) * comb(len(players) - 1, size))
            for size, total in added.items()
        )
    return value


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_operators_get_their_shapley_value_and_gateways_an_equal_part_of_it(seed: int) -> None:
    draw = random.Random(seed)
    operators = {}
    for operator in range(draw.randint(1, 10)):
        for gateway in range(draw.choice([1, 1, 2, 3, 5, 11])):
            operators[f"{draw.randrange(16**4):04X}{operator}{gateway}"] = f"operator {operator}"
    alone = [f"{draw.randrange(16**4):04X}" for _ in range(draw.randint(0, 1))]
    everyone = [*operators, *alone]
    unknown = Counter({draw.randrange(12): draw.randint(1, 2) for _ in range(draw.randint(0, 1))})
    uplinks: list[Uplink] = [
        (draw.sample(everyone, draw.randint(1, len(everyone))), unknown[n], draw.random() < 0.8)
        for n in range(draw.randint(1, 12))
    ]

    paid = split(uplinks, operators)

    player = {gateway: operators.get(gateway, gateway) for gateway in everyone}
    audiences, exact, least = [], Counter[str](), Counter[str]()
    for gateways, unknowns, delivered in uplinks:
        if delivered:
            heard = frozenset(player[gateway] for gateway in gateways)
            audiences.append(heard | {f"unknown {number}" for number in range(unknowns)})
            for gateway in gateways:
                members = [other for other in gateways if player[other] == player[gateway]]
                ways = len(audiences[-1]) * len(members)
                exact[gateway] += Fraction(SHAPLEY_UNIT, ways)
                least[gateway] += SHAPLEY_UNIT // ways
                if gateway == min(members):
                    least[gateway] += SHAPLEY_UNIT // len(audiences[-1]) % len(members)
    earned = defaultdict(int)
    for gateway, share in paid.items():
        earned[player.get(gateway, "unknown")] += share
    expected = defaultdict(Fraction)
    for name, value in shapley(audiences).items():
        expected["unknown" if name.startswith("unknown") else name] += SHAPLEY_UNIT * value
    assert {name: value for name, value in earned.items() if value} == expected
    assert all(paid[gateway] == least[gateway] for gateway in paid if gateway != UNATTRIBUTED)
    assert all(abs(paid[gateway] - exact[gateway]) < 11 * len(audiences) for gateway in exact)
    assert sum(paid.values()) == SHAPLEY_UNIT * len(audiences)


def test_the_lowest_gateway_id_gets_the_remainder_of_an_operators_part() -> None:
    gateways = [f"{number:02}" for number in range(17)]
    paid = split([(gateways[::-1], 0, True)], dict.fromkeys(gateways, "P"))
    assert paid == {
        g: SHAPLEY_UNIT // 17 + (SHAPLEY_UNIT % 17 if g == "00" else 0) for g in gateways
    }


@pytest.mark.parametrize("players", range(1, 17))
def test_up_to_16_operators_nothing_is_lost(players: int) -> None:
    gateways = [f"{number:02}" for number in range(players)]
    assert set(split([(gateways, 0, True)], {}).values()) == {SHAPLEY_UNIT // players}
    assert SHAPLEY_UNIT % players == 0


def test_past_16_operators_what_cannot_be_divided_is_assigned_to_nobody() -> None:
    gateways = [f"{number:02}" for number in range(12)]
    paid = split([(gateways, 5, True)], {})
    assert paid == {UNATTRIBUTED: 5 * (SHAPLEY_UNIT // 17)} | dict.fromkeys(
        gateways, SHAPLEY_UNIT // 17
    )


def test_a_second_gateway_beside_the_first_earns_an_operator_nothing() -> None:
    one = split([(["A", "B"], 0, True)], {"A": "P", "B": "Q"})
    two = split([(["A", "AA", "B"], 0, True)], {"A": "P", "AA": "P", "B": "Q"})
    assert two["A"] + two["AA"] == one["A"]
    assert two["B"] == one["B"]
