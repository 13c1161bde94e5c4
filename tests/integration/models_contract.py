"""What every store does with models, whatever database is under it: inherit and supply `url`."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy.exc import IntegrityError

from hpo_lib.core.trial import Assignment, History, Origin, Params, TrialState
from hpo_lib.errors import NotFound, Superseded
from hpo_lib.records import Model, ModelStatus, Run, RunKey, RunStatus
from hpo_lib.search import engine
from hpo_lib.spec import Spec, load
from hpo_lib.store import Store
from tests.integration.store_contract import begin, execute, handle_for, succeeded, together

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
        found = {"trial": 2, "files": "s3://b/x", "metrics": {"loss": 0.5}, "verdict": {"a": 1}}
        trained = store.models.trained(model, found)
        assert (trained.trial, trained.files, dict(trained.metrics)) == (
            2,
            "s3://b/x",
            {"loss": 0.5},
        )
        assert not trained.served
        store.models.serves(trained)
        assert store.models.get("nightly", 1).served

    def test_what_runs_see_of_a_champion_is_kept_once_a_run(self, store: Store) -> None:
        judged = store.models.trained(challenger(store, 1), {"verdict": {"promote": True}})
        model = store.models.promote(judged, "it was better.")
        runs = [searched(store, night) for night in (2, 3)]
        assert store.models.seen_by(runs[0]) is None
        for value in (1, 2):
            store.models.noted(model, {"run": runs[1].id, "value": value})
        store.models.noted(model, {"run": runs[0].id, "value": 3})
        now = store.models.get("nightly", 1)
        assert now.verdict == {
            "promote": True,
            "nights": [{"run": runs[0].id, "value": 3}, {"run": runs[1].id, "value": 2}],
        }
        assert store.models.seen_by(runs[0]) == now
        assert store.view(runs[1].id).champion == now
        assert store.view(judged.run_id).champion is None, "its own run had none"
        champion(store, 4)
        assert store.view(runs[1].id).champion == store.models.get("nightly", 1)
        for number in range(1000, 1100):
            store.models.noted(model, {"run": number})
        kept = (store.models.get("nightly", 1).verdict or {})["nights"]
        assert [one["run"] for one in kept] == list(range(1040, 1100))

    def test_no_run_overwrites_what_another_sees_at_once(self, url: str, store: Store) -> None:
        model = champion(store, 1)

        def note(index: int) -> None:
            with Store.open(url) as own:
                own.models.noted(model, {"run": index})

        together(4, note)
        verdict = store.models.get("nightly", 1).verdict or {}
        assert verdict == {"nights": [{"run": index} for index in range(4)]}

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
