"""Fair shares: nothing idle while somebody waits, shares by weight, and nobody starves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.core.shares import STARVED_S, Shares, Waiting, may_begin
from hpo_lib.core.teams import Quotas, Team

TEAMS = ("", "audio", "nlp", "vision")
teams = st.sampled_from(TEAMS)
rules = st.builds(
    Team,
    weight=st.floats(0.1, 10),
    quotas=st.builds(Quotas, parallel_trials=st.none() | st.integers(1, 5)),
)
shares = st.builds(
    Shares, capacity=st.none() | st.integers(0, 12), teams=st.dictionaries(teams, rules)
)
waiting = st.lists(
    st.builds(
        Waiting,
        run=st.integers(1, 5),
        trial=st.integers(1, 30),
        team=teams,
        waited_s=st.floats(0, 7_200),
        nightly=st.booleans(),
    ),
    max_size=20,
    unique=True,
)
running = st.dictionaries(teams, st.integers(0, 6))


def quota(given_: Shares, team: str) -> float:
    found = given_.teams.get(team, Team()).quotas.parallel_trials
    return float("inf") if found is None else found


@given(shares, running, waiting)
def test_no_limit_is_passed_and_no_capacity_stays_idle(
    given_: Shares, now: dict[str, int], those: list[Waiting]
) -> None:
    chosen = may_begin(given_, now, those)
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(those)
    after = Counter(now) + Counter(one.team for one in chosen)
    limit = float("inf") if given_.capacity is None else given_.capacity
    assert not chosen or after.total() <= limit
    for team in {one.team for one in chosen}:
        assert after[team] <= quota(given_, team)
    left = [one for one in those if one not in chosen]
    if after.total() < limit:
        assert all(after[one.team] >= quota(given_, one.team) for one in left)


@given(shares, running, waiting)
def test_the_order_of_those_who_wait_changes_nothing(
    given_: Shares, now: dict[str, int], those: list[Waiting]
) -> None:
    assert may_begin(given_, now, those) == may_begin(given_, now, those[::-1])


@given(st.lists(st.integers(1, 9), min_size=2, max_size=4), st.integers(4, 200))
def test_shares_come_to_the_weights(weights: list[int], capacity: int) -> None:
    """With everybody waiting, a team gets its share but for one trial."""
    named = {TEAMS[at]: Team(weight=weight) for at, weight in enumerate(weights)}
    those = [Waiting(1, n, team) for team in named for n in range(capacity)]
    got = Counter(one.team for one in may_begin(Shares(capacity, named), {}, those))
    for team, rule in named.items():
        assert abs(got[team] - capacity * rule.weight / sum(weights)) <= len(weights)


@given(st.dictionaries(teams, st.floats(0.1, 10), min_size=1))
def test_nobody_starves(weights: dict[str, float]) -> None:
    """One place, which everybody wants again and again: all that wait come to run."""
    given_ = Shares(1, {team: Team(weight=weight) for team, weight in weights.items()})
    since = {Waiting(1, n, team, nightly=bool(n % 2)): 0.0 for team in weights for n in range(3)}
    patient, clock = set(since), 0.0
    while patient:
        clock += 600.0
        those = [
            Waiting(one.run, one.trial, one.team, clock - begun, one.nightly)
            for one, begun in since.items()
        ]
        (chosen,) = may_begin(given_, {}, those)
        done = Waiting(chosen.run, chosen.trial, chosen.team, nightly=chosen.nightly)
        patient.discard(done)
        since[done] = clock  # and it wants to run again at once
        assert clock < 600.0 * 100


@pytest.mark.parametrize("weights", [(2, 1), (1.1, 1), (5, 1)])
def test_one_place_is_shared_by_weight_over_time(weights: tuple[float, float]) -> None:
    given_ = Shares(1, {"vision": Team(weight=weights[0]), "nlp": Team(weight=weights[1])})
    used = {"vision": 0.0, "nlp": 0.0}
    those = [Waiting(1, 1, "vision"), Waiting(2, 1, "nlp")]
    for _ in range(120):
        (chosen,) = may_begin(given_, {}, those, used)
        used[chosen.team] += 60.0
    assert used["vision"] / used["nlp"] == pytest.approx(weights[0] / weights[1], rel=0.1)


@pytest.mark.parametrize(
    ("those", "first"),
    [
        # A nightly run gives way to a person's, however much longer it has waited …
        ([Waiting(1, 1, nightly=True, waited_s=900), Waiting(2, 1, waited_s=1)], 2),
        # … until it starves.
        ([Waiting(1, 1, nightly=True, waited_s=STARVED_S), Waiting(2, 1, waited_s=1)], 1),
        # Among equals who has waited longer goes first.
        ([Waiting(1, 1, waited_s=1), Waiting(2, 1, waited_s=2)], 2),
        # The team that has less by its weight goes first, whoever has waited.
        ([Waiting(1, 1, "nlp", waited_s=900), Waiting(2, 1, "vision")], 2),
    ],
)
def test_who_goes_first(those: list[Waiting], first: int) -> None:
    given_ = Shares(4, {"vision": Team(weight=3), "nlp": Team()})
    (chosen,) = may_begin(given_, {"vision": 2, "nlp": 1}, those)
    assert chosen.run == first


def test_a_team_over_its_quota_waits_and_others_go() -> None:
    given_ = Shares(None, {"vision": Team(quotas=Quotas(parallel_trials=2))})
    those = [Waiting(1, 1, "vision"), Waiting(2, 1, "nlp")]
    assert may_begin(given_, {"vision": 2}, those) == [those[1]]
    assert (given_.decide, Shares().decide, Shares(3).decide) == (True, False, True)
