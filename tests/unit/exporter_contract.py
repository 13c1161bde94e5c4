"""What every exporter has to do; a subclass names it, and reads as the other tool does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from hpo_lib.core.trial import Cause, Observation, Origin, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.exporters import Exported
from hpo_lib.records import RunStatus, RunView
from hpo_lib.registry import load
from tests.unit.factories import SPEC, attempt, front_run, good_run, run, trial, view

ODD = "a <b> \"c\" 'd' état \u202e"
#: By trial: its state, and its value of the first objective if it is complete.
Told = Mapping[int, tuple[TrialState, float | None]]


def exported(of: RunView) -> Exported:
    """Take a run whose trials were tried once each."""
    views = [*of.trials, *of.finals]
    return Exported(of, lambda: [(v.trial.number, 1, s) for v in views for s in v.observations])


def odd_run() -> RunView:
    """Make a run of what is rare: values of all kinds, names in any script, no number."""
    params: Sequence[dict[str, Any]] = (
        {ODD: "x", "mixed": 1, "shape": [1, {"a": None}], "big": 10**15, "flag": True},
        {ODD: "<script>", "mixed": "auto", "shape": {"b": [2]}, "big": -3, "flag": False},
        {"mixed": 2.5},
    )
    views = [
        view(
            trial(n, 0.25 * n, params=found, metrics={"val_auc": 0.25 * n, ODD: math.inf}),
            attempt(n, 0, 5),
            observations=[Observation(ODD, value, step) for step, value in enumerate((1e300, 0.5))],
        )
        for n, found in enumerate(params, 1)
    ]
    return RunView(run(SPEC | {"space": {}}, check=False), views)


class ExporterContract:
    """Inherit, name the exporter, and read what it has written."""

    name: ClassVar[str]
    #: How states are told that the other tool does not have.
    states: ClassVar[Mapping[TrialState, TrialState]] = {}

    @pytest.fixture
    def target(self, tmp_path: Any) -> str:
        """Give where to."""
        return str(tmp_path / "exported")

    def told(self, target: str, run_id: int) -> Told:
        """Read the trials of a run's search."""
        raise NotImplementedError

    def curve(self, target: str, run_id: int, number: int, metric: str) -> list[tuple[int, float]]:
        """Read a trial's values of a metric by step."""
        raise NotImplementedError

    def export(self, target: str, of: RunView) -> str:
        return str(load("exporter", self.name)(target).export(exported(of)))

    def expected(self, views: Iterable[Any]) -> Told:
        return {
            one.trial.number: (
                self.states.get(one.trial.state, one.trial.state),
                None if one.trial.value is None else pytest.approx(one.trial.value, rel=1e-6),
            )
            for one in views
        }

    def test_every_trial_arrives_and_it_is_said_where(self, target: str) -> None:
        of = good_run(12)
        assert target in self.export(target, of)
        assert self.told(target, 12) == self.expected(of.trials)

    def test_curves_arrive_by_step(self, target: str) -> None:
        of = good_run(4, fail=0.0)
        self.export(target, of)
        for one in of.trials:
            found = self.curve(target, 12, one.trial.number, "val_auc")
            assert [step for step, _ in found] == list(range(1, 31))
            wanted = [seen.value for seen in one.observations]
            assert [value for _, value in found] == pytest.approx(wanted, rel=1e-6)

    def test_again_doubles_nothing(self, target: str) -> None:
        of = good_run(6)
        self.export(target, of)
        before = self.told(target, 12), self.curve(target, 12, 1, "val_auc")
        self.export(target, of)
        assert (self.told(target, 12), self.curve(target, 12, 1, "val_auc")) == before

    def test_what_has_come_since_takes_the_place_of_what_was_there(self, target: str) -> None:
        going = view(trial(1), attempt(1, 0, None), observations=[Observation("val_auc", 0.5, 1)])
        waits = view(trial(2, state=TrialState.WAITING), attempt(2, 0, 5))
        self.export(target, RunView(run(status=RunStatus.RUNNING, ended_at=None), [going, waits]))
        assert self.told(target, 12) == self.expected([going, waits])
        curve = [Observation("val_auc", 0.5, 1), Observation("val_auc", 0.75, 2)]
        ended = [
            view(trial(1, 0.75), attempt(1, 0, 9), observations=curve),
            view(trial(2, state=TrialState.STOPPED, reason="behind"), attempt(2, 0, 5)),
            view(trial(3, cause=Cause.TIMEOUT, reason="10m"), attempt(3, 0, 5)),
        ]
        self.export(target, RunView(run(), ended))
        assert self.told(target, 12) == self.expected(ended)
        assert self.curve(target, 12, 1, "val_auc") == [(1, 0.5), (2, 0.75)]

    def test_several_objectives_and_constraints(self, target: str) -> None:
        of = front_run(8)
        self.export(target, of)
        assert self.told(target, 12) == self.expected(of.trials)

    def test_what_is_rare(self, target: str) -> None:
        of = odd_run()
        self.export(target, of)
        assert self.told(target, 12) == self.expected(of.trials)

    def test_runs_share_a_target(self, target: str) -> None:
        one, other = good_run(4), good_run(5, seed=4)
        other = replace(other, run=replace(other.run, id=13))
        self.export(target, one)
        self.export(target, other)
        self.export(target, one)
        assert self.told(target, 12) == self.expected(one.trials)
        assert self.told(target, 13) == self.expected(other.trials)

    def test_a_run_without_trials_and_one_whose_spec_cannot_be_read(self, target: str) -> None:
        self.export(target, RunView(run()))
        assert self.told(target, 12) == {}
        strange = [view(trial(1, 0.5, params={"x": 1}))]
        self.export(target, RunView(run({}, check=False, id=13, experiment="old"), strange))
        assert self.told(target, 13) == self.expected(strange)

    def test_final_trials_are_no_part_of_the_search(self, target: str) -> None:
        of = good_run(4)
        again = view(trial(9, 0.5, origin=Origin.FINAL, repeat=1), attempt(9, 0, 5))
        self.export(target, replace(of, finals=[again]))
        assert self.told(target, 12) == self.expected(of.trials)

    def test_what_is_no_target_is_refused(self, tmp_path: Any) -> None:
        with pytest.raises(SpecError, match=self.name):
            load("exporter", self.name)(self.no_target(tmp_path))

    def no_target(self, tmp_path: Any) -> str:
        """Give what no run can be exported to."""
        raise NotImplementedError
