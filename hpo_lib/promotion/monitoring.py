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
from hpo_lib.files.places import below, json_or_why
from hpo_lib.installation import Installation, backend_of
from hpo_lib.records import Model, Run, RunKey, TrialView
from hpo_lib.spec import Spec
from hpo_lib.store import Store
from hpo_lib.words import count

#: In a trial's output: the folder to serve, and the file in it that describes the training.
MODEL, METADATA = "model", "metadata.json"
MAX_METADATA = 64 * 1024
#: How many files that cannot be read are named.
_NAMED = 3


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
    training, torn = _training(run, trained, installation)
    search = all(one.trial.origin is not Origin.FINAL for one in trained)
    # If search and final training run in different places, other versions are no change.
    differs = search and spec.for_final is not spec
    now = program(spec.for_final, champion.params, None if differs else training.get("versions"))
    then = champion.manifest.program(champion.params)
    score, data = Score.of(scores(rule.metric, trained)), Data.read(training.get("data"))
    unsaid = [] if search else _unsaid(champion.manifest.data, data)
    check = ChampionCheck(
        run=run.id,
        time=run.started_at,
        version=champion.version,
        metric=rule.metric,
        direction=rule.direction,
        then=_recorded(champion, rule.metric),
        now=score,
        search=search,
        data=compare(champion.manifest.data, data),
        program=(*changes(then, now), *([] if search else _unnamed(then, now))),
        missing=(*_unscored(rule.metric, trained, score), *torn, *unsaid),
    )
    store.models.noted(champion, check)
    return check


def _unnamed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say so if the training of the champion named its versions, and this one does not."""
    gone = then.get("versions") and not now.get("versions")
    return [f"{METADATA} named versions, and names none"] if gone else []


def _unsaid(then: Data, now: Data) -> list[str]:
    """Say so if the training of the champion said what its data was like, and this one does not."""
    gone = then != Data() and now == Data()
    return ["the statistics of the data, which there were when it was made"] if gone else []


def _unscored(metric: str, trained: Sequence[TrialView], score: Score | None) -> list[str]:
    """Say how many trials are missing in a score, nothing if none is or all are."""
    lacking = len(trained) - (score.seeds if score else len(trained))
    return [f"{lacking} of {count(len(trained), 'trial')} left no {metric}"] if lacking else []


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
) -> tuple[Mapping[str, Any], list[str]]:
    """Read the first description of training that a complete trial has left; {} without one.

    Besides, say which were there but could not be read.
    """
    missing: list[str] = []
    for one in trained:
        if one.trial.state is TrialState.COMPLETE and one.attempts:
            output = backend_of(run, one.trial, installation).output(one.attempts[-1].handle)
            place = below(output, f"{MODEL}/{METADATA}")
            found, why = json_or_why(place, MAX_METADATA)
            if found:
                return found, missing[:_NAMED]
            missing += [f"{place} {why}"] if why else []
    return {}, missing[:_NAMED]
