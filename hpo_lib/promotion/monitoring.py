"""Champion checks: what a run sees of the champion, whose configuration it has trained again.

A check is kept with the champion, challenged or not; a run that checks again replaces its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo_lib.core.trial import Origin, TrialState
from hpo_lib.errors import NotFound
from hpo_lib.evaluation.drift import ChampionCheck, Data, Score, compare
from hpo_lib.evaluation.gate import Rule
from hpo_lib.evaluation.training_diff import changes, program
from hpo_lib.files.places import json_object
from hpo_lib.installation import Installation, backend_of
from hpo_lib.records import Model, Run, RunKey, TrialView
from hpo_lib.spec import Spec
from hpo_lib.store import Store

#: In a trial's output: the folder to serve, and the file in it that describes the training.
MODEL, METADATA = "model", "metadata.json"
MAX_METADATA = 64 * 1024


def note(
    store: Store,
    run: Run,
    spec: Spec,
    rule: Rule,
    champion: Model,
    trained: Sequence[TrialView],
    installation: Installation,
) -> ChampionCheck | None:
    """Note how trials of the champion's configuration went; None if there are none.

    They may be trials of the search or final ones. TransientError if an output cannot be reached.
    """
    if not trained:
        return None
    training = _training(run, trained, installation)
    search = all(one.trial.origin is not Origin.FINAL for one in trained)
    # If search and final training run in different places, other versions are no change.
    differs = search and spec.for_final is not spec
    now = program(spec.for_final, champion.params, None if differs else training.get("versions"))
    check = ChampionCheck(
        run=run.id,
        time=run.started_at,
        version=champion.version,
        metric=rule.metric,
        direction=rule.direction,
        then=_recorded(champion, rule.metric),
        now=Score.of(scores(rule.metric, trained)),
        search=search,
        data=compare(champion.manifest.data, Data.read(training.get("data"))),
        program=tuple(changes(champion.manifest.program(champion.params), now)),
    )
    store.models.noted(champion, check)
    return check


def said(store: Store, key: RunKey) -> list[str]:
    """Say what a run's champion check has shown; nothing if the run has made none."""
    try:
        run = store.run(key)
    except NotFound:
        return []
    champion = store.models.seen_by(run)
    check = None if champion is None else champion.check_of(run.id)
    return [] if check is None else list(check.sentences())


def _recorded(champion: Model, metric: str) -> Score | None:
    """Read what a champion scored when it was made: over all seeds, or else with its files' own."""
    return champion.manifest.score(metric) or Score.of([champion.metrics.get(metric)])


def scores(metric: str, trained: Sequence[TrialView]) -> list[float]:
    """Give what the complete trials of a configuration scored."""
    done = [one.trial.metrics for one in trained if one.trial.state is TrialState.COMPLETE]
    return [metrics[metric] for metrics in done if metric in metrics]


def _training(
    run: Run, trained: Sequence[TrialView], installation: Installation
) -> Mapping[str, Any]:
    """Read the first description of training that a complete trial has left; {} without one."""
    for one in trained:
        if one.trial.state is TrialState.COMPLETE and one.attempts:
            backend = backend_of(run, one.trial, installation)
            output = backend.output(one.attempts[-1].handle)
            if found := json_object(output / MODEL / METADATA, MAX_METADATA):
                return found
    return {}
