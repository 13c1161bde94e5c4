"""From a run's winner to a model with a verdict: the control tasks between search and deployment.

As in `hpo_lib.trials.runner`, each function may be called again at any moment and gives the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpo_lib.core import retry_policy
from hpo_lib.core.space import key as params_key
from hpo_lib.core.trial import Decision, Params, TrialState
from hpo_lib.errors import NotFound, TransientError
from hpo_lib.evaluation import gate
from hpo_lib.evaluation.drift import ChampionCheck
from hpo_lib.files import artifacts
from hpo_lib.files.places import Place, below, files, json_object, left_alone
from hpo_lib.installation import Installation, backend_of
from hpo_lib.promotion import holdout, monitoring
from hpo_lib.promotion.monitoring import MAX_METADATA, METADATA, MODEL
from hpo_lib.records import (
    Manifest,
    Model,
    ModelStatus,
    Run,
    RunKey,
    RunStatus,
    RunView,
    Trained,
    TrialView,
    attempt_uri,
)
from hpo_lib.records.audit import SOMEBODY, Actor
from hpo_lib.runs import lifecycle, outputs, quotas
from hpo_lib.search import engine
from hpo_lib.spec import Spec
from hpo_lib.store import Store
from hpo_lib.store.batches import STOPPED, Batch

SLOT = "final"


def choose(store: Store, key: RunKey, installation: Installation) -> Batch:
    """End the search, then give the final trials, or the reason why there are none."""
    try:
        run = store.run(key)
    except NotFound:
        return Batch((), Decision.stop("the run was never started", failed=True))
    if run.status is RunStatus.REFUSED:
        return Batch((), Decision.stop(run.reason or "refused", failed=True))
    spec = run.spec
    if spec.final is None:
        return Batch((), Decision.stop("the spec asks for no final training"))
    batch = store.batch_of(run.id, SLOT) or _chosen(store, run, spec, installation)
    if batch.stop is not None and not batch.stop.failed:
        _unchallenged(store, run, spec, installation)
    return batch


def _chosen(store: Store, run: Run, spec: Spec, installation: Installation) -> Batch:
    conclusion = lifecycle.searched(store, run, installation)
    if conclusion.failed:
        return Batch((), conclusion)
    if why := quotas.spent(store, spec.for_final, installation):
        return Batch((), Decision.stop(why))

    def ask(history: Any, champion: Model | None) -> engine.FinalStep:
        return engine.final_step(spec, history, None if champion is None else champion.params)

    return store.next_final_batch(run.id, SLOT, ask)


def _unchallenged(store: Store, run: Run, spec: Spec, installation: Installation) -> None:
    """Check a champion that stays, with trials of the search; the run goes on if that fails."""
    champion = store.models.champion(run.experiment)
    if champion is None:
        return
    trained = [one for one in store.view(run.id).trials if _is(one, champion.params)]
    with suppress(TransientError):
        monitoring.note(store, run, spec, rule_of(spec), champion, trained, installation)


def decide(store: Store, key: RunKey, installation: Installation) -> Model | None:
    """Settle the final trials, judge the challenger, and give it; None if there is none.

    A challenger that the gate is against, or that has nothing to deploy, is rejected here. Any
    other waits for its deployment or, if the spec has no `deploy`, stays a challenger.
    """
    run = store.run(key)
    model = store.models.of_run(run.id)
    if model is None and _unasked(store, run):
        raise TransientError("final.choose has not said what is to be trained: see its log")
    if model is None or model.status is not ModelStatus.CHALLENGER:
        return model
    spec = run.spec.for_final
    if model.awaits_verdict:
        model = _judged(store, run, spec, model, installation)
    if not model.promising:
        return store.models.reject(model, model.verdict_reason)
    if spec.deploy is not None and (led := _leading_out(store, run, model, installation)):
        return store.models.reject(model, led)
    if spec.deploy is not None and not model.files:
        lack = f"final training left nothing in HPO_OUTPUT/{MODEL}, so there is nothing to deploy."
        return store.models.reject(model, lack)
    if model.trial is not None:
        outputs.keep_output(store, run, model.trial, installation)
    return model


def _leading_out(store: Store, run: Run, model: Model, installation: Installation) -> str:
    """Say what of a model's files leads out of its trial's output; nothing if nothing does."""
    if model.trial is None:
        return ""
    backend = backend_of(run, store.trial(run.id, model.trial), installation)
    output = backend.output(store.attempts(run.id, model.trial)[-1].handle)
    found = [str(one) for one in left_alone(below(output, MODEL)) if one.out]
    return f"a model that leads out of HPO_OUTPUT is not deployed: {found[0]}." if found else ""


def _unasked(store: Store, run: Run) -> bool:
    """Say whether a run needs final training that has not been asked for yet."""
    wanted = run.status is RunStatus.RUNNING and run.spec.final is not None
    return wanted and not any(store.batch_of(run.id, slot) for slot in (SLOT, STOPPED))


def _judged(store: Store, run: Run, spec: Spec, model: Model, installation: Installation) -> Model:
    """Settle the final trials, and give the model with its verdict and what training made."""
    lifecycle.settle(store, run, installation)
    view, rule = store.view(run.id), rule_of(spec)
    mine = _of(view, model.params)
    theirs = [one for one in view.finals if not _is(one, model.params)]
    made = None
    if model.against is not None:
        champion = store.models.get(run.experiment, model.against)
        check = monitoring.note(store, run, spec, rule, champion, theirs, installation)
        made = None if check is None else _made(champion, check)
    challenger, rival = (_scores(rule, spec, side, installation) for side in (mine, theirs))
    verdict = gate.judge(rule, challenger, None if model.against is None else rival, made)
    examples = max(map(len, challenger.examples[rule.metric]), default=0)
    trained = _trained(spec, run, rule, mine, examples, installation)
    return store.models.judged(model, verdict, trained)


def _made(champion: Model, check: ChampionCheck) -> gate.Made:
    then = None if check.then is None else check.then.mean
    return gate.Made(then, check.program, champion.manifest.examples(check.metric))


def files_of(model: Model, installation: Installation) -> Place:
    """Give the folder of a model's files; NotFound if training left none."""
    if not model.files:
        raise NotFound(f"version {model.version} of {model.experiment} has no files")
    output, _, name = model.files.rpartition("/")
    if "://" not in model.files:
        return below(Path(output), name)
    return artifacts.kept_at(output, installation.artifacts) / name


def rule_of(spec: Spec) -> gate.Rule:
    """Build the gate's rule from a spec; where nothing is deployed, nobody is asked."""
    known = dict(spec.goal.objectives)
    deploy = spec.deploy
    if deploy is None:
        metric, direction = spec.goal.objectives[0]
        return gate.Rule(metric, direction, approval="none")
    metric = deploy.metric or spec.objective.metric
    guards = [
        gate.Guard(
            metric=one.metric,
            at_most=one.at_most,
            at_least=one.at_least,
            not_worse_than=one.not_worse_than,
            direction=one.direction or known.get(one.metric),
        )
        for one in deploy.guards
    ]
    return gate.Rule(
        metric=metric,
        direction=deploy.direction or known[metric],
        min_improvement=deploy.min_improvement,
        confidence=deploy.confidence,
        guards=guards,
        approval=deploy.approval,
        seeds=0 if spec.final is None else spec.final.seeds,
    )


def _of(view: RunView, params: Params) -> list[TrialView]:
    return [one for one in view.finals if _is(one, params)]


def _is(one: TrialView, params: Params) -> bool:
    return params_key(one.trial.params) == params_key(params)


def _scores(
    rule: gate.Rule, spec: Spec, trained: Sequence[TrialView], installation: Installation
) -> gate.Scores:
    """Read what a configuration's final trials scored, by seed."""
    ordered = sorted(trained, key=lambda one: one.trial.repeat)
    backend = installation.backend(spec)
    examples, unread = [], {}
    for at, one in enumerate(ordered):
        complete = one.trial.state is TrialState.COMPLETE
        output = backend.output(one.attempts[-1].handle) if complete else None
        found, why = ([], "") if output is None else holdout.read(output, rule.metric)
        examples.append(found)
        if why:
            unread[at] = why
    metrics = [_metrics(one, rule.metric) for one in ordered]
    return gate.Scores(metrics, {rule.metric: examples}, unread)


def _metrics(one: TrialView, metric: str) -> Mapping[str, float]:
    """Give a final trial's metrics: none if the world failed, NaN if the trial itself failed."""
    if one.trial.state is TrialState.COMPLETE:
        return one.trial.metrics
    return {metric: math.nan} if retry_policy.counts(one.trial.cause) else {}


def _trained(
    spec: Spec,
    run: Run,
    rule: gate.Rule,
    finals: Sequence[TrialView],
    examples: int,
    installation: Installation,
) -> Trained | None:
    """Say what final training made: the files of its best trial; None if no trial is complete."""
    ranked = spec.goal.ranked(one.trial for one in finals)
    if not ranked:
        return None
    trial = ranked[0]
    attempt = next(one for one in finals if one.trial.number == trial.number).attempts[-1]
    folder = below(installation.backend(spec).output(attempt.handle), MODEL)
    led = any(one.out for one in left_alone(folder))
    there, training = not led and bool(files(folder)), json_object(folder / METADATA, MAX_METADATA)
    name = str(folder)
    if spec.artifacts is not None:
        name = f"{attempt_uri(spec.artifacts.uri, run, trial.number, attempt.number)}/{MODEL}"
    manifest = Manifest.of(
        spec,
        trial,
        run=run.id,
        dag_run=run.key.dag_run_id,
        versions=run.provenance.dump(),
        training=training,
        metric=rule.metric,
        scores=monitoring.scores(rule.metric, finals),
        examples=examples,
    )
    return Trained(trial.number, name if there else "", trial.metrics, manifest)


def approve(
    store: Store, key: RunKey, *, approved: bool, reason: str, by: Actor = SOMEBODY
) -> Model | None:
    """Record whether a run's challenger is approved; no answer in time is a no."""
    model = store.models.of_run(store.run(key).id)
    if model is None or model.verdict is None:
        raise TransientError("the gate has not decided")
    if not approved:
        return store.models.reject(model, reason, by)
    return store.models.approved(model, reason, by)
