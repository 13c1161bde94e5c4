"""Optuna: a study per run in a journal file, which `optuna-dashboard FILE` opens.

    optuna.load_study(study_name="wine/run-12", storage=JournalStorage(JournalFileBackend(FILE)))

Optuna 5 keeps one attribute per constraint, optuna-dashboard reads the list of older versions: a
trial has both, the list by position and each constraint under its text.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.core.trial import Direction, Origin, TrialState, Value
from hpo_lib.errors import HpoError, SpecError, needs
from hpo_lib.exporters import Exported, Series, results_of
from hpo_lib.records import Run, TrialView
from hpo_lib.report.facts import Facts, value_of
from hpo_lib.samplers.adapters.library import silent_optuna
from hpo_lib.spec.outline import Dimension, Measure
from hpo_lib.words import utc

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial

#: The attribute of a study by which it is known what it was made of.
_DIGEST = "hpo:digest"
#: Where Optuna keeps the names of objectives, and optuna-dashboard looks for constraints.
_NAMES, _CONSTRAINTS = "study:metric_names", "constraints"
_STATES = {
    TrialState.RUNNING: "RUNNING",
    TrialState.WAITING: "RUNNING",
    TrialState.COMPLETE: "COMPLETE",
    TrialState.STOPPED: "PRUNED",
    TrialState.FAILED: "FAIL",
}
#: JSON has no infinity.
_MOST = 1e300


class OptunaExporter:
    """Writes to a journal file, which is made if it is not there; other studies in it stay."""

    def __init__(self, target: str) -> None:
        """Take the file."""
        self._file = Path(target).absolute()
        if self._file.is_dir():
            raise SpecError(f"optuna: must be a file, got the folder {target}")

    def export(self, run: Exported) -> str:
        """Write the run's study anew, unless it is there as it would be."""
        if find_spec("optuna") is None:
            raise HpoError(f"optuna: this {needs('optuna', 'optuna')}")
        with silent_optuna():
            from optuna import create_study, delete_study
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            facts = Facts.of(run.view)
            name = f"{facts.run.experiment}/run-{facts.run.id}"
            trials, digest = _trials(facts, run)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            storage = JournalStorage(JournalFileBackend(str(self._file)))
            found = {one.study_name: one for one in storage.get_all_studies()}
            where = f"study {name} in {self._file}: optuna-dashboard {self._file}"
            if name in found:
                if found[name].user_attrs.get(_DIGEST) == digest:
                    return where
                delete_study(study_name=name, storage=storage)
            directions = [_direction(one) for one in _objectives(facts)]
            study = create_study(storage=storage, study_name=name, directions=directions)
            _describe(study, facts)
            study.add_trials(trials)
            study.set_user_attr(_DIGEST, digest)  # Last, so that half a study is made again.
            return where


def _objectives(facts: Facts) -> Sequence[Measure]:
    """Give the objectives; of a spec that does not say what is better, the first."""
    return facts.objectives if facts.goal else facts.objectives[:1]


def _direction(objective: Measure) -> StudyDirection:
    from optuna.study import StudyDirection

    up = objective.direction is Direction.MAXIMIZE
    return StudyDirection.MAXIMIZE if up else StudyDirection.MINIMIZE


def _values(facts: Facts, one: TrialView) -> list[float] | None:
    """Give a complete trial's values; None if one is not finite."""
    if facts.goal is None:
        value = value_of(one)
        return None if value is None else [value]
    values = facts.goal.values(one.trial)
    return None if values is None or one.trial.state is not TrialState.COMPLETE else list(values)


def _describe(study: Study, facts: Facts) -> None:
    """Write down what is known of the run itself."""
    names = [one.metric for one in _objectives(facts)]
    study._storage.set_study_system_attr(study._study_id, _NAMES, names)
    study.set_user_attr("hpo:run", facts.run.id)
    study.set_user_attr("hpo:sampler", facts.said.sampler)


def _trials(facts: Facts, run: Exported) -> tuple[list[FrozenTrial], str]:
    """Give the trials of the search as Optuna has them, and a digest of all that is in them."""
    distributions = distributions_of(facts)
    made = [
        _trial(facts, one, series, distributions)
        for one, series in run.trials()
        if one.trial.origin is not Origin.FINAL
    ]
    digest = hashlib.sha256()
    for one in made:
        digest.update(repr(one).encode())
    return made, digest.hexdigest()


def _trial(
    facts: Facts,
    one: TrialView,
    series: Series,
    distributions: Mapping[str, BaseDistribution],
) -> FrozenTrial:
    from optuna.trial import FrozenTrial
    from optuna.trial import TrialState as State

    trial, values = one.trial, _values(facts, one)
    complete = trial.state is TrialState.COMPLETE
    state = State["FAIL" if complete and values is None else _STATES[trial.state]]
    began, ended = _times(facts.run, one)
    curve = series.get(facts.metric, ())
    return FrozenTrial(
        number=trial.number - 1,
        trial_id=-1,
        state=state,
        value=None,
        values=values,
        datetime_start=began,
        datetime_complete=ended if state.is_finished() else None,
        params={name: _plain(value) for name, value in trial.params.items()},
        distributions={name: distributions[name] for name in trial.params},
        user_attrs=_attributes(facts, one),
        system_attrs=_constraints(facts, one) if complete else {},
        intermediate_values={seen.step or 0: seen.value for seen in curve},
    )


def _attributes(facts: Facts, one: TrialView) -> dict[str, Any]:
    """Say what Optuna has no place for: our number, other metrics, why it ended as it did."""
    trial, objectives = one.trial, {each.metric for each in facts.objectives}
    metrics = results_of(facts.view, one)
    said = {
        "trial": trial.number,
        "cause": None if trial.cause is None else trial.cause.value,
        "reason": trial.reason,
        "attempts": len(one.attempts),
        **{name: value for name, value in metrics.items() if name not in objectives},
    }
    return {name: value for name, value in said.items() if value is not None}


def _constraints(facts: Facts, one: TrialView) -> dict[str, Any]:
    """Say by how much constraints are exceeded, in the old form and in that of Optuna 5."""
    if facts.goal is None or not facts.goal.constraints:
        return {}
    excesses = [_bounded(excess) for excess in facts.goal.excesses(one.trial)]
    named = zip(facts.goal.constraints, excesses, strict=True)
    return {
        _CONSTRAINTS: excesses,
        **{f"{_CONSTRAINTS}:{constraint.text}": excess for constraint, excess in named},
    }


def _bounded(excess: float) -> float:
    return _MOST if math.isnan(excess) else min(max(excess, -_MOST), _MOST)


def _times(run: Run, one: TrialView) -> tuple[datetime, datetime]:
    """Say from when to when a trial ran, as Optuna does: in local time, without a zone."""
    began = [utc(attempt.started_at) for attempt in one.attempts] or [utc(run.started_at)]
    ended = [utc(attempt.ended_at) for attempt in one.attempts if attempt.ended_at is not None]
    first, last = min(began), max([*ended, min(began)])
    return _local(first), _local(last)


def _local(time: datetime) -> datetime:
    return time.astimezone().replace(tzinfo=None)


def distributions_of(facts: Facts) -> dict[str, BaseDistribution]:
    """Give the distribution of each parameter: its own, or wide enough for what trials have."""
    seen: dict[str, list[Value]] = defaultdict(list)
    for view in facts.trials:
        for name, value in view.trial.params.items():
            seen[name].append(value)
    return {name: _distribution(facts.dimension(name), values) for name, values in seen.items()}


def _distribution(said: Dimension, values: Sequence[Value]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    if said.choices or len(numbers) < len(values):
        choices = dict.fromkeys(map(_known, [*said.choices, *values]))
        return CategoricalDistribution([value for _, value in choices])
    low, high = min([*said.ends, *numbers]), max([*said.ends, *numbers])
    log = said.scale == "log" and low > 0
    if all(isinstance(one, int) for one in numbers):
        return IntDistribution(math.ceil(low), math.floor(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _known(value: Value) -> tuple[type, Any]:
    """Tell choices apart that are equal in Python, such as 1 and true."""
    plain = _plain(value)
    return type(plain), plain


def _plain(value: Value) -> str | int | float | bool:
    """Give a value as Optuna takes it: lists and mappings as JSON."""
    return json.dumps(value) if isinstance(value, list | dict) else value
