"""Quotas and places: GPU hours of a month, trials at once, and who begins when they are short."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.backends.local import LocalBackend
from hpo_lib.cli.progress import so_far
from hpo_lib.core.shares import Shares
from hpo_lib.core.teams import Quotas, Team
from hpo_lib.core.trial import Trial, TrialState
from hpo_lib.errors import AlreadyFinished, NoPlace, SpecError
from hpo_lib.installation import Environment, Installation
from hpo_lib.records import Attempt, Provenance, Run, RunKey, RunStatus
from hpo_lib.runs import admission, lifecycle
from hpo_lib.spec import Spec, load
from hpo_lib.store import Store
from hpo_lib.trials import runner
from tests import clocks
from tests.integration.databases import OnPostgresql, OnSqlite
from tests.integration.store_contract import (
    SPEC,
    Clock,
    Engineer,
    OnAClock,
    failed,
    handle_for,
    succeeded,
    together,
)
from tests.integration.test_teams_store import CONF, installation

ON_GPU = load(SPEC.dump() | {"trial": {"command": ["true"], "resources": {"gpu": 2}}})
TWO = Shares(2)


def started(
    store: Store,
    team: str = "vision",
    name: str = "1",
    spec: Spec = SPEC,
    way: str = "manual",
) -> Run:
    """Start a team's run, with three trials to be run."""
    made = Provenance(way=way)
    key = RunKey(f"hpo_{team}.local", name)
    run = store.start_run(key, spec, triggered_by="ada", provenance=made, team=team)
    store.next_batch(run.id, "wave-01", Engineer(3))
    return run


def opened(store: Store, run: Run, number: int = 0, shares: Shares | None = TWO) -> Attempt | None:
    """Open a trial's attempt; None if it has to wait."""
    try:
        return store.open_attempt(run.id, number, handle_for, shares)
    except NoPlace:
        return None


def closed(store: Store, attempt: Attempt | None) -> None:
    assert attempt is not None
    store.close_attempt(attempt.id, succeeded(), final=True)


class QuotasContract(OnAClock):
    """One store, whatever database is under it."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock(datetime(2031, 5, 6, tzinfo=UTC))

    def test_gpu_hours_are_those_of_the_teams_attempts(self, store: Store, clock: Clock) -> None:
        ours, theirs = started(store, spec=ON_GPU), started(store, "nlp", spec=ON_GPU)
        plain = started(store, name="2")
        for run in (ours, theirs, plain):
            opened(store, run, 0, None)
        clock.advance(1_800)
        store.close_attempt(store.attempts(ours.id, 0)[-1].id, failed(), final=False)
        opened(store, ours, 0, None)
        clock.advance(1_800)
        assert store.gpu_hours("vision") == store.gpu_hours("nlp") == pytest.approx(2.0)
        assert store.gpu_hours("audio") == 0

    def test_a_month_begins_with_nothing_used(self, store: Store, clock: Clock) -> None:
        clock.time = datetime(2031, 5, 31, 23, 30, tzinfo=UTC)
        run = started(store, spec=ON_GPU)
        opened(store, run, 0, None)
        opened(store, run, 1, None)
        clock.advance(900)
        store.close_attempt(store.attempts(run.id, 1)[-1].id, succeeded(), final=True)
        assert store.gpu_hours("vision") == pytest.approx(1.0)
        clock.advance(1_800)
        assert store.gpu_hours("vision") == pytest.approx(0.5), "of the one that runs, since midn."

    def test_a_run_stops_when_the_hours_are_used_up(
        self, store: Store, clock: Clock, tmp_path: Path
    ) -> None:
        quota = {"vision": Team(quotas=Quotas(gpu_hours=1))}
        here = replace(installation("vision", tmp_path), teams=quota)
        run = started(store, spec=ON_GPU)
        opened(store, run, 0, None)
        clock.advance(3_600)
        closed(store, store.attempts(run.id, 0)[-1])
        for number in (1, 2):
            store.stop_trial(run.id, number, "no more")
        batch = lifecycle.next_wave(store, run.key, 2, here)
        assert batch.stop is not None
        assert (batch.assignments, batch.stop.failed) == ((), False)
        assert batch.stop.reason.startswith("team vision has used 2.0 of its 1 GPU hours of this")
        resources = {"trial": {"command": ["true"], "resources": {"gpu": 1}}}
        with pytest.raises(SpecError, match=r"trial\.resources\.gpu: team vision has used 2\.0 of"):
            self.begin(store, here, resources)
        assert self.begin(store, here, {}).status is RunStatus.RUNNING

    def begin(self, store: Store, here: Installation, changes: dict[str, Any]) -> Run:
        return admission.begin(
            store,
            RunKey("hpo_vision.local", f"again-{len(changes)}"),
            CONF | changes,
            here,
            backend="local",
            triggered_by="ada",
            provenance=Provenance(),
        )

    def test_without_a_place_a_trial_waits_for_the_next(self, store: Store) -> None:
        run = started(store)
        first, second = opened(store, run, 0), opened(store, run, 1)
        assert None not in (first, second)
        assert opened(store, run, 2) is None
        assert opened(store, run, 0) == first, "one that runs is taken over"
        closed(store, first)
        assert opened(store, run, 2)

    def test_a_teams_quota_holds_over_all_of_its_runs(self, store: Store) -> None:
        shares = Shares(None, {"vision": Team(quotas=Quotas(parallel_trials=1))})
        one, two, other = started(store), started(store, name="2"), started(store, "nlp")
        first = opened(store, one, 0, shares)
        assert opened(store, two, 0, shares) is None
        assert opened(store, other, 0, shares)
        assert opened(store, other, 1, shares)
        closed(store, first)
        assert opened(store, two, 0, shares)

    def test_those_who_ask_at_once_never_take_one_place(self, url: str, store: Store) -> None:
        runs = [started(store, name=str(number)) for number in range(4)]

        def work(index: int) -> bool:
            with Store.open(url, now=Clock(datetime(2031, 5, 6, tzinfo=UTC))) as own:
                return opened(own, runs[index]) is not None

        assert sorted(together(4, work)) == [False, False, True, True]

    def test_the_team_with_less_goes_first_and_a_person_before_a_schedule(
        self, store: Store, clock: Clock
    ) -> None:
        nightly = started(store, "nlp", "night", way="scheduled")
        mine, theirs = started(store, "nlp"), started(store)
        running = opened(store, nightly, 0, Shares(1))
        for run, number in ((nightly, 1), (mine, 0), (theirs, 0)):
            clock.advance(1)
            assert opened(store, run, number, Shares(1)) is None
        closed(store, running)
        two = Shares(2)
        assert opened(store, theirs, 0, two) is not None, "both have nothing: who has waited …"
        assert opened(store, nightly, 1, two) is None
        assert opened(store, mine, 0, two) is not None

    def test_a_killed_waiter_keeps_no_place(self, store: Store, clock: Clock) -> None:
        run, other = started(store), started(store, name="2")
        running = opened(store, run, 0, Shares(1))
        assert opened(store, run, 1, Shares(1)) is None
        clock.advance(1)
        assert opened(store, other, 0, Shares(1)) is None
        closed(store, running)
        assert opened(store, other, 0, Shares(1)) is None, "the first in the queue goes first"
        clock.advance(31)
        assert opened(store, other, 0, Shares(1)), "it has not asked again"

    def test_a_killed_waiter_keeps_no_place_when_the_clock_is_stepped_back(
        self, store: Store, clock: Clock
    ) -> None:
        run, other = started(store), started(store, name="2")
        running = opened(store, run, 0, Shares(1))
        assert opened(store, run, 1, Shares(1)) is None
        closed(store, running)
        clock.advance(-300)
        assert opened(store, other, 0, Shares(1)), "the other asked five minutes from now"

    def test_what_waits_for_a_place_is_not_said_to_run(self, store: Store, clock: Clock) -> None:
        run = started(store)
        running = opened(store, run, 0, Shares(1))
        assert opened(store, run, 1, Shares(1)) is None
        assert " · 2 running · 1 waits for a place" in so_far(store, run)
        assert opened(store, run, 2, Shares(1)) is None
        assert " · 1 running · 2 wait for a place" in so_far(store, run)
        closed(store, running)
        assert opened(store, run, 1, Shares(1)) is not None
        assert " · 1 running · 1 waits for a place" in so_far(store, run)
        clock.advance(60)
        assert " · 2 running" in so_far(store, run), "who asks no more does not wait"

    def test_a_run_that_ends_lets_its_waiters_go(self, store: Store) -> None:
        run, other = started(store), started(store, name="2")
        opened(store, other, 0, Shares(1))
        assert opened(store, run, 0, Shares(1)) is None
        store.finish_run(run.id, RunStatus.FAILED, "marked")
        with pytest.raises(AlreadyFinished):
            opened(store, run, 0, Shares(1))
        store.finish_run(other.id, RunStatus.FAILED, "marked")
        assert opened(store, started(store, name="3"), 0, Shares(1))

    def test_a_trial_waits_in_its_task(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, said, slept = started(store), [], []
        running = opened(store, run, 0, Shares(1))

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 2:
                closed(store, running)

        clocks.give(monkeypatch, runner, sleep=sleep)
        backend = LocalBackend(home=tmp_path, workdir=tmp_path, path="", grace_s=60.0)
        trial = Trial(1, {"lr": 0.5}, TrialState.RUNNING)
        attempt = runner._opened(store, run, trial, backend, said.append, Shares(1))
        assert isinstance(attempt, Attempt)
        assert (attempt.trial, len(slept), len(said)) == (1, 2, 1)
        why = "the capacity of the installation is used up (1)"
        assert said == [f"trial 1 waits for a place: {why}"]

    def test_what_is_used_up_is_named(self, store: Store) -> None:
        shares = Shares(2, {"vision": Team(quotas=Quotas(parallel_trials=1))})
        assert store.slots.why_waits("vision", shares) == "others go first"
        assert opened(store, started(store), 0, shares)
        told = "the quota of team vision is used up (parallel_trials: 1)"
        assert store.slots.why_waits("vision", shares) == told
        assert store.slots.why_waits("nlp", shares) == "others go first"
        assert opened(store, started(store, "nlp"), 0, shares)
        full = "the capacity of the installation is used up (2)"
        assert store.slots.why_waits("nlp", shares) == full


class TestSqlite(QuotasContract, OnSqlite):
    """A file."""


class TestPostgresql(QuotasContract, OnPostgresql):
    """A server."""


@pytest.mark.parametrize(
    ("said", "shares"),
    [
        ("", None),
        ("teams: {vision: {weight: 2}}", None),
        ("capacity: 3", Shares(3)),
        (
            "teams: {vision: {quotas: {parallel_trials: 1}}}",
            Shares(None, {"vision": Team(quotas=Quotas(parallel_trials=1))}),
        ),
    ],
)
def test_nobody_asks_for_a_place_unless_the_operator_says_so(
    tmp_path: Path, said: str, shares: Shares | None
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "deployment.yaml").write_text(said)
    assert Environment(tmp_path, variables={}).shares == shares


@pytest.mark.parametrize("said", ["0", "-1", "1.5", "true", "many"])
def test_a_wrong_capacity_is_told(tmp_path: Path, said: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "deployment.yaml").write_text(f"capacity: {said}")
    with pytest.raises(SpecError, match=r"yaml: capacity: must be a whole number > 0, got"):
        _ = Environment(tmp_path, variables={}).shares
