"""The checks of a conf, and the start of its run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hpo_lib.backends import Backend
from hpo_lib.errors import (
    SpecError,
)
from hpo_lib.files import artifacts
from hpo_lib.installation import Installation
from hpo_lib.records import Advice, Provenance, Run, RunKey
from hpo_lib.registry import load as load_part
from hpo_lib.runs import fingerprint
from hpo_lib.search import engine, warm_start
from hpo_lib.spec import Spec, load
from hpo_lib.store import Store


def validate(conf: Any, installation: Installation, *, backend: str, by_file: bool = False) -> Spec:
    """Check a conf against the model, the engine and what this DAG can do, or raise SpecError.

    A DAG that was made of a file (`by_file`) has tasks for the backend that its `final` names.
    """
    spec = load(conf)
    if spec.schedule is not None:
        raise SpecError(
            "schedule: belongs to a file in config/experiments, which gets a DAG of its own; leave "
            f"it out of a conf, which runs at once, got {spec.schedule.words()}"
        )
    engine.check(spec)
    load_part("collector", spec.metrics.collector)
    if spec.trial.backend != backend:
        raise SpecError(f"trial.backend: this DAG runs {backend}, got {spec.trial.backend}")
    last = spec.for_final.trial.backend
    if last != backend and not by_file:
        raise SpecError(
            f"final.trial.backend: this DAG runs {backend}, got {last}; only a file in "
            "config/experiments, which gets a DAG of its own, may train its winner elsewhere"
        )
    if spec.limits.parallel_trials > installation.max_parallel:
        raise SpecError(
            f"limits.parallel_trials: must be <= {installation.max_parallel} in this deployment, "
            f"got {spec.limits.parallel_trials}; its operator can raise HPO_MAX_PARALLEL"
        )
    if engine.waves(spec) > installation.max_waves:
        raise SpecError(
            f"limits: {spec.limits.max_trials} trials, {spec.limits.parallel_trials} in parallel, "
            f"need {engine.waves(spec)} waves, but this DAG has {installation.max_waves}; raise "
            "parallel_trials, or let its operator raise HPO_MAX_WAVES"
        )
    _check_parts(spec, installation)
    if spec.artifacts is not None:
        uri = spec.artifacts.uri
        artifacts.probe(uri, artifacts.options_for(uri, installation.artifacts))
    return spec


def _check_parts(spec: Spec, installation: Installation) -> None:
    """Ask backend and deployer whether they may and can do what the spec wants of them."""
    search, last = installation.backend(spec), installation.backend(spec.for_final)
    search.permit(spec.trial)
    if spec.for_final is not spec:
        try:
            last.permit(spec.for_final.trial)
        except SpecError as error:
            lines = (f"final.{line}" for line in str(error).splitlines())
            raise SpecError("\n".join(lines)) from None
    if spec.metrics.collector != "stdout":
        _check_output(spec, search, f"metrics.collector: {spec.metrics.collector}")
        _check_output(spec.for_final, last, f"metrics.collector: {spec.metrics.collector}")
    if spec.deploy is not None:
        _check_output(spec.for_final, last, "deploy.to")
        installation.deployer(spec)


def _check_output(spec: Spec, backend: Backend, needs: str) -> None:
    if not (spec.artifacts or backend.keeps_output):
        raise SpecError(
            f"{needs} reads what a trial leaves in HPO_OUTPUT; of backend "
            f"{spec.trial.backend} that needs artifacts.uri"
        )


def begin(
    store: Store,
    key: RunKey,
    conf: Any,
    installation: Installation,
    *,
    backend: str,
    triggered_by: str,
    provenance: Provenance,
    by_file: bool = False,
) -> Run:
    """Start the run, or give the one started before; of a bad conf only the refusal is stored.

    The champion's parameters are the first that are tried, where the run may challenge it. What
    advises the run is settled here, once. `by_file` says that the spec is an operator's, no conf.
    """
    try:
        spec = validate(conf, installation, backend=backend, by_file=by_file)
        if spec.deploy is not None and not by_file:
            _check_champion(store, key, spec.name)
        taken, why = fingerprint.take(spec, installation.inputs)
    except SpecError as error:
        store.refuse_run(key, str(error), triggered_by=triggered_by)
        raise
    spec, advice = _warmed(store, spec)
    return store.start_run(
        key,
        spec,
        triggered_by=triggered_by,
        provenance=replace(provenance, store=store.id),
        advice=advice.noting(why),
        fingerprint=taken,
    )


def _check_champion(store: Store, key: RunKey, experiment: str) -> None:
    """Let no conf replace a champion that another DAG has made: its name alone gives no right."""
    champion = store.models.champion(experiment)
    made = store.run_by_id(champion.run_id).key.dag_id if champion else key.dag_id
    if made != key.dag_id:
        raise SpecError(
            f"deploy: the champion of {experiment} is made by DAG {made}, which alone may replace "
            "it; leave deploy out, or take another name"
        )


def _warmed(store: Store, spec: Spec) -> tuple[Spec, Advice]:
    """Begin with the champion's parameters, and ask earlier runs for advice."""
    asked, said = spec.warm_start, None
    champion = store.models.champion(spec.name) if spec.final else None
    if champion is not None:
        spec, said = warm_start.first_point(spec, champion.params)
    past = store.past(spec.advised_by, asked.runs) if asked else []
    return spec, warm_start.advise(spec, past).noting(said)
