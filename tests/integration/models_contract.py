"""What every store does with models, whatever database is under it: inherit and supply `url`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from hpo_lib.core.trial import Assignment, Decision, Direction, History, Origin, Params, TrialState
from hpo_lib.errors import NotFound, Superseded
from hpo_lib.evaluation.drift import ChampionCheck, Score
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.records import Manifest, Model, ModelStatus, Run, RunKey, RunStatus, Trained
from hpo_lib.records.audit import Actor
from hpo_lib.search import engine
from hpo_lib.spec import Spec, load
from hpo_lib.store import Store
from hpo_lib.store.schema import models
from tests.integration.store_contract import (
    START,
    begin,
    execute,
    handle_for,
    raw,
    succeeded,
    together,
)

SPEC = load(
    {
        "name": "nightly",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "trial": {"command": ["true"]},
        "final": {"seeds": 2},
        "deploy": {"to": "package"},
    }
)


@dataclass(frozen=True)
class Wave:
    """An engine's answer of one trial."""

    assignments: tuple[Assignment, ...]
    stop: None = None
    decisions: Mapping[int, Decision] = field(default_factory=dict)


def searched(store: Store, night: int, x: float | None = None, spec: Spec = SPEC) -> Run:
    """Begin a night's run and complete its only trial of the search."""
    run = begin(store, RunKey("nightly", f"night-{night}"), spec)
    params = {"x": night / 128 if x is None else x}
    store.next_batch(run.id, "wave-01", lambda _: Wave((Assignment(1, params),)))
    complete(store, run, 1, params["x"])
    return run


def complete(store: Store, run: Run, trial: int, value: float) -> None:
    attempt = store.open_attempt(run.id, trial, handle_for)
    store.close_attempt(attempt.id, succeeded(value), final=True)


def ask(history: History, champion: Model | None) -> engine.FinalStep:
    return engine.final_step(SPEC, history, champion.params if champion else None)


def challenger(store: Store, night: int, x: float | None = None) -> Model:
    """Give the challenger of a night, which has yet to be trained."""
    run = searched(store, night, x)
    store.next_final_batch(run.id, "final", ask)
    model = store.models.of_run(run.id)
    assert model is not None
    return model


def champion(store: Store, night: int, x: float | None = None) -> Model:
    return store.models.promote(challenger(store, night, x), "it was better.")


BETTER = Verdict(True, "it was better.", 0.25, 0.125)


def check(run: int, value: float = 0.0) -> ChampionCheck:
    """Make what a run has seen of a champion."""
    return ChampionCheck(run, START, 1, "loss", Direction.MINIMIZE, now=Score(value))


ADA = Actor("ada", "cli")


class ModelsContract:
    """Challengers, the one champion, and how they change."""

    def test_final_trials_are_asked_for_once_and_are_no_part_of_the_search(
        self, store: Store
    ) -> None:
        run = searched(store, 1)
        lease = store.next_final_batch(run.id, "final", ask)
        assert (
            lease == store.next_final_batch(run.id, "final", ask) == store.batch_of(run.id, "final")
        )
        assert [(a.trial, a.repeat, a.origin) for a in lease.assignments] == [
            (2, 1, Origin.FINAL),
            (3, 2, Origin.FINAL),
        ]
        assert {a.params["x"] for a in lease.assignments} == {1 / 128}
        assert [trial.number for trial in store.history(run.id).trials] == [1]
        view = store.view(run.id)
        assert [one.trial.number for one in view.trials] == [1]
        assert [one.trial.repeat for one in view.finals] == [1, 2]
        assert view.model == store.models.of_run(run.id)
        assert store.trial(run.id, 3).repeat == 2

    def test_final_trials_run_as_all_others(self, store: Store) -> None:
        run = searched(store, 1)
        store.next_final_batch(run.id, "final", ask)
        complete(store, run, 3, 0.25)
        last = store.view(run.id).finals[-1].trial
        assert (last.state, last.value, last.origin) == (TrialState.COMPLETE, 0.25, Origin.FINAL)

    def test_an_ended_run_asks_for_no_final_trials(self, store: Store) -> None:
        run = searched(store, 1)
        store.finish_run(run.id, RunStatus.COMPLETE, "done")
        lease = store.next_final_batch(run.id, "final", ask)
        assert not lease.assignments
        assert lease.stop is not None
        assert store.models.of_run(run.id) is None

    def test_the_champions_configuration_is_trained_beside_the_challengers(
        self, store: Store
    ) -> None:
        before = champion(store, 1)
        run = searched(store, 2)
        lease = store.next_final_batch(run.id, "final", ask)
        trained = [(a.params["x"], a.repeat) for a in lease.assignments]
        assert trained == [(2 / 128, 1), (2 / 128, 2), (1 / 128, 1), (1 / 128, 2)]
        model = store.models.of_run(run.id)
        assert model is not None
        assert (model.version, model.against) == (2, before.version)

    def test_a_champion_of_meanwhile_is_trained_beside_the_challenger(self, store: Store) -> None:
        run = searched(store, 2)
        seen: list[int | None] = []

        def slowly(history: History, best: Model | None) -> engine.FinalStep:
            seen.append(best.version if best else None)
            if best is None:
                champion(store, 1)
            return ask(history, best)

        lease = store.next_final_batch(run.id, "final", slowly)
        assert seen == [None, 1]
        assert len(lease.assignments) == 4
        model = store.models.of_run(run.id)
        assert model is not None
        assert (model.version, model.against) == (2, 1)

    def test_the_champions_own_configuration_challenges_nobody(self, store: Store) -> None:
        champion(store, 1, x=0.5)
        run = searched(store, 2, x=0.5)
        lease = store.next_final_batch(run.id, "final", ask)
        assert not lease.assignments
        assert lease.stop is not None
        assert "the champion stays" in lease.stop.reason
        assert store.models.of_run(run.id) is None

    def test_a_challenger_takes_the_place_of_the_champion(self, store: Store) -> None:
        first = champion(store, 1)
        second = champion(store, 2)
        assert second.status is ModelStatus.CHAMPION
        assert second.reason == "it was better."
        retired = store.models.get("nightly", first.version)
        assert retired.status is ModelStatus.RETIRED
        assert retired.reason == "version 2 has taken its place"
        assert store.models.champion("nightly") == second
        assert [one.version for one in store.models.of("nightly")] == [2, 1]
        assert store.models.experiments() == ["nightly"]

    def test_promoting_and_rejecting_again_changes_nothing(self, store: Store) -> None:
        model = challenger(store, 1)
        promoted = store.models.promote(model, "better.")
        assert store.models.promote(model, "again") == promoted
        assert store.models.reject(model, "no") == promoted
        other = store.models.reject(challenger(store, 2), "worse.")
        assert store.models.reject(other, "again") == other
        with pytest.raises(Superseded, match=r"version 2 is rejected: worse\."):
            store.models.promote(other, "after all")

    def test_a_stale_verdict_promotes_nobody(self, store: Store) -> None:
        early, late = challenger(store, 1), challenger(store, 2)
        store.models.promote(late, "better.")
        with pytest.raises(Superseded, match="compared with no champion, and now version 2 is"):
            store.models.promote(early, "better.")
        assert store.models.get("nightly", early.version).status is ModelStatus.CHALLENGER

    def test_a_champion_is_replaced_by_one_of_before(self, store: Store) -> None:
        first, second = champion(store, 1), champion(store, 2)
        heir = store.models.replace(second, ModelStatus.REJECTED, "it is slow", by=1)
        assert heir is not None
        assert (heir.version, heir.status) == (first.version, ModelStatus.CHAMPION)
        assert heir.reason == "in the place of version 2: it is slow"
        assert store.models.replace(second, ModelStatus.REJECTED, "again", by=1) == heir
        assert store.models.get("nightly", 2).status is ModelStatus.REJECTED

    def test_a_champion_that_people_bring_back_is_told_of_once(self, store: Store) -> None:
        first, second = champion(store, 1), champion(store, 2)
        assert store.models.unannounced() == []
        heir = store.models.replace(second, ModelStatus.RETIRED, "back", by=1, actor=ADA)
        assert store.models.unannounced() == [heir]
        assert heir is not None
        store.models.announced(heir)
        assert store.models.unannounced() == []
        store.models.replace(heir, ModelStatus.RETIRED, "forth", by=2, actor=ADA)
        assert [one.version for one in store.models.unannounced()] == [2]
        champion(store, 3)
        assert store.models.unannounced() == [], "its deployment tells of it"
        assert first.version == 1

    def test_a_champion_may_leave_no_heir(self, store: Store) -> None:
        only = champion(store, 1)
        assert store.models.replace(only, ModelStatus.REJECTED, "it is slow", by=None) is None
        assert store.models.champion("nightly") is None

    def test_an_heir_has_to_be_there(self, store: Store) -> None:
        only = champion(store, 1)
        with pytest.raises(NotFound, match="nightly has no model of version 9"):
            store.models.replace(only, ModelStatus.RETIRED, "why not", by=9)
        assert store.models.champion("nightly") == only

    def test_history_tells_every_change(self, store: Store) -> None:
        champion(store, 1)
        champion(store, 2)
        store.models.reject(challenger(store, 3), "worse.")
        said = [(event.version, event.status.value) for event in store.models.events("nightly")]
        assert said == [
            (1, "challenger"),
            (1, "champion"),
            (2, "challenger"),
            (1, "retired"),
            (2, "champion"),
            (3, "challenger"),
            (3, "rejected"),
        ]

    def test_what_training_gave_is_kept(self, store: Store) -> None:
        model = challenger(store, 1)
        made = Trained(2, "s3://b/x", {"loss": 0.5}, Manifest({"image": "train:1"}))
        trained = store.models.judged(model, BETTER, made)
        assert (trained.verdict, trained.manifest) == (BETTER, made.manifest)
        assert (trained.trial, trained.files, dict(trained.metrics)) == (
            2,
            "s3://b/x",
            {"loss": 0.5},
        )
        assert not trained.served
        store.models.serves(trained)
        assert store.models.get("nightly", 1).served

    def test_what_runs_see_of_a_champion_is_kept_once_a_run(self, store: Store) -> None:
        judged = store.models.judged(challenger(store, 1), BETTER)
        model = store.models.promote(judged, "it was better.")
        runs = [searched(store, night) for night in (2, 3)]
        assert store.models.seen_by(runs[0]) is None
        for value in (1, 2):
            store.models.noted(model, check(runs[1].id, value))
        store.models.noted(model, check(runs[0].id, 3))
        now = store.models.get("nightly", 1)
        assert now.verdict == BETTER
        assert now.checks == (check(runs[0].id, 3), check(runs[1].id, 2))
        assert store.models.seen_by(runs[0]) == now
        assert store.view(runs[1].id).champion == now
        assert store.view(judged.run_id).champion is None, "its own run had none"
        champion(store, 4)
        assert store.view(runs[1].id).champion == store.models.get("nightly", 1)
        for number in range(1000, 1100):
            store.models.noted(model, check(number))
        kept = store.models.get("nightly", 1)
        assert [one.run for one in kept.checks] == list(range(1040, 1100))
        assert kept.verdict == BETTER

    def test_what_was_said_before_is_kept_whatever_is_added(self, url: str, store: Store) -> None:
        judged = store.models.judged(challenger(store, 1), BETTER)
        store.models.noted(judged, check(7))
        model = store.models.approved(judged, "Approved by ada.")
        assert (model.verdict, model.approved, model.checks) == (
            BETTER,
            "Approved by ada.",
            (check(7),),
        )
        with raw(url).begin() as connection:
            kept = connection.execute(select(models.c.verdict)).scalar_one()
        assert kept == {
            "promote": True,
            "reason": "it was better.",
            "improvement": 0.25,
            "error": 0.125,
            "broken": [],
            "approved": "Approved by ada.",
            "nights": [json.loads(json.dumps(check(7).dump()))],
        }

    def test_a_champion_that_a_former_version_has_written_is_read(
        self, url: str, store: Store
    ) -> None:
        model, run = champion(store, 1), searched(store, 2)
        night = {
            "run": run.id,
            "time": "2031-05-06T00:00:00+00:00",
            "version": 1,
            "metric": "loss",
            "direction": "minimize",
            "then": None,
            "now": {"mean": 0.5, "error": None, "seeds": 1},
            "data": {"rows": [None, None], "shifts": []},
        }
        said = {"promote": True, "reason": "it was better.", "nights": [{"run": "?"}, night]}
        with raw(url).begin() as connection:
            connection.execute(update(models).values(verdict=said, manifest={"image": "train:1"}))
        read = store.models.get("nightly", model.version)
        assert read.verdict == Verdict(True, "it was better.")
        assert [one.run for one in read.checks] == [run.id]
        assert read.manifest == Manifest({"image": "train:1"})
        assert store.models.seen_by(run) == store.view(run.id).champion == read
        assert store.models.seen_by(searched(store, 3)) is None

    def test_no_run_overwrites_what_another_sees_at_once(self, url: str, store: Store) -> None:
        model = champion(store, 1)

        def note(index: int) -> None:
            with Store.open(url) as own:
                own.models.noted(model, check(index))

        together(4, note)
        seen = store.models.get("nightly", 1)
        assert seen.verdict is None
        assert seen.checks == tuple(check(index) for index in range(4))

    def test_of_many_at_once_one_becomes_champion(self, url: str, store: Store) -> None:
        made = [challenger(store, night) for night in range(1, 5)]

        def promote(index: int) -> str:
            with Store.open(url) as own:
                try:
                    return own.models.promote(made[index], "better.").status.value
                except Superseded:
                    return "superseded"

        assert sorted(together(4, promote)) == ["champion", *["superseded"] * 3]
        champions = [m for m in store.models.of("nightly") if m.status is ModelStatus.CHAMPION]
        assert len(champions) == 1

    def test_runs_that_end_at_once_get_versions_of_their_own(self, url: str, store: Store) -> None:
        runs = [searched(store, night) for night in range(1, 5)]

        def enter(index: int) -> int:
            with Store.open(url) as own:
                own.next_final_batch(runs[index].id, "final", ask)
                model = own.models.of_run(runs[index].id)
                return model.version if model else 0

        assert sorted(together(4, enter)) == [1, 2, 3, 4]

    def test_the_database_itself_refuses_a_second_champion(self, url: str, store: Store) -> None:
        champion(store, 1)
        challenger(store, 2)
        with pytest.raises(IntegrityError):
            execute(url, "UPDATE models SET status = 'champion' WHERE version = 2")

    def test_experiments_have_champions_of_their_own(self, store: Store) -> None:
        champion(store, 1)
        other = load(SPEC.dump() | {"name": "other"})
        run = begin(store, RunKey("other", "night-1"), other)
        params: Params = {"x": 0.5}
        store.next_batch(run.id, "wave-01", lambda _: Wave((Assignment(1, params),)))
        complete(store, run, 1, 0.5)
        store.next_final_batch(run.id, "final", ask)
        model = store.models.of_run(run.id)
        assert model is not None
        assert (model.version, model.against) == (1, None)
        store.models.promote(model, "better.")
        assert store.models.experiments() == ["nightly", "other"]
