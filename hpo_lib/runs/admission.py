"""The checks of a conf, and the start of its run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpo_lib.backends import Backend
from hpo_lib.core.teams import Team, owner_of, within
from hpo_lib.errors import HpoError, SpecError
from hpo_lib.files import artifacts
from hpo_lib.installation import Installation
from hpo_lib.records import Advice, Provenance, Run, RunKey
from hpo_lib.registry import OF_RETURNED, backends
from hpo_lib.registry import load as load_part
from hpo_lib.runs import fingerprint, quotas, shape
from hpo_lib.search import engine, mode, warm_start
from hpo_lib.spec import Draft, Spec
from hpo_lib.spec.airflow_section import AirflowSection
from hpo_lib.spec.draft import draft
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import parse, reading, refusal, told

if TYPE_CHECKING:
    from hpo_lib.store import Store

#: The fields that backends look at to say whether a trial may run.
_PERMITTED = tuple(
    f"trial.{name}"
    for name in ("backend", "image", "command", "args", "env", "resources", "spot", "options")
)


def validate(
    conf: Any,
    installation: Installation,
    *,
    backend: str,
    by_file: bool = False,
    in_slots: bool = True,
) -> Spec:
    """Check a conf against the model, the engine and what this DAG can do, or raise SpecError.

    The place of artifacts is tried out last, and only if the conf is sound.
    """
    kind: dict[str, Any] = {"backend": backend, "by_file": by_file, "in_slots": in_slots}
    with reading():
        made = draft(conf)
        spec = made.found(problems(made, installation, **kind)).checked()
    for each in (spec, spec.for_final):
        installation.backend(each)
    if spec.artifacts is not None:
        uri = spec.artifacts.uri
        artifacts.probe(uri, artifacts.options_for(uri, installation.artifacts))
    return spec


def problems(
    made: Draft,
    installation: Installation,
    *,
    backend: str,
    by_file: bool = False,
    in_slots: bool = True,
) -> Iterator[str]:
    """Yield why a DAG of this backend does not run a spec, beyond the problems of its draft.

    Commands call this too, so it uses no connection: only Airflow knows those. A DAG that was made
    from a file (`by_file`) is as wide and long as its spec asks for, and has tasks for the backend
    that its `final` names. One without slots (`in_slots`) has waves, and not any number of them.
    """
    if made.spec.schedule is not None and not by_file:
        yield (
            "schedule: belongs to a file in config/experiments, which gets a DAG of its own; leave "
            f"it out of a conf, which runs at once, got {made.spec.schedule.words()}"
        )
    if made.spec.airflow is not None and made.sound("airflow"):
        yield from _placed(made.spec.airflow, installation, by_file=by_file)
    yield from engine.problems(made)
    if made.sound("metrics.collector"):
        yield from told(load_part, "collector", made.spec.metrics.collector)
    yield from _elsewhere(made, backend, by_file=by_file)
    if not by_file:
        yield from _too_many_at_once(made, installation)
    if not (by_file or in_slots):
        yield from _without_slots(made, installation)
    yield from _not_permitted(made, installation)
    if made.spec.warm_start is not None and made.sound("warm_start"):
        yield from _not_shared(made.spec, installation)
    if made.spec.artifacts is not None and made.sound("artifacts"):
        yield from told(artifacts.offered, made.spec.artifacts.uri, installation.artifacts)


def _placed(asked: AirflowSection, installation: Installation, *, by_file: bool) -> Iterator[str]:
    if by_file:
        yield from installation.placing.problems_of(asked)
        return
    yield (
        "airflow: belongs to a file in config/experiments, which gets a DAG of its own; leave it "
        "out of a conf: Airflow places tasks by their DAG"
    )


def _not_shared(spec: Spec, installation: Installation) -> Iterator[str]:
    """Yield which experiments of other teams may not advise this one."""
    mine = installation.team
    for name in spec.advised_by:
        owner = installation.teams.get(owner_of(name), Team())
        if owner_of(name) not in ("", mine) and mine not in owner.shares_with:
            yield (
                f"warm_start.from: {name} is another team's, which does not share its results; "
                f"its operator can name {mine or 'a team'} in teams.{owner_of(name)}.shares_with"
            )


def _elsewhere(made: Draft, backend: str, *, by_file: bool) -> Iterator[str]:
    """Yield that the spec wants its trials on another backend than the DAG's."""
    spec = made.spec
    if made.sound("trial.backend") and spec.trial.backend != backend:
        yield f"trial.backend: this DAG runs {backend}, got {spec.trial.backend}"
    elif made.sound("trial.backend", "final.trial") and not by_file:
        last = spec.for_final.trial.backend
        if last != backend:
            yield (
                f"final.trial.backend: this DAG runs {backend}, got {last}; only a file in "
                "config/experiments, which gets a DAG of its own, may train its winner elsewhere"
            )


def _too_many_at_once(made: Draft, installation: Installation) -> Iterator[str]:
    """Yield that a DAG for confs runs too few trials at once."""
    asked = made.spec.limits.parallel_trials
    if made.sound("limits.parallel_trials") and asked > installation.max_parallel:
        yield (
            f"limits.parallel_trials: must be <= {installation.max_parallel} in this installation, "
            f"got {asked}; its operator can raise HPO_MAX_PARALLEL"
        )


def _without_slots(made: Draft, installation: Installation) -> Iterator[str]:
    """Yield what only a DAG with slots can do."""
    spec, limits = made.spec, made.spec.limits
    way = f"trigger {shape.dag_id_of(spec.trial.backend, installation.team)}"
    if made.sound("mode") and spec.mode == "async":
        yield f"mode: this DAG runs waves, got async; {way}"
    elif made.sound("limits.max_trials", "limits.parallel_trials", "scheduler", "objective"):
        try:
            waves = engine.waves(spec)
        except SpecError:  # `engine.problems` has told it
            return
        if waves > installation.max_waves:
            yield (
                f"limits: {limits.max_trials} trials, {limits.parallel_trials} in parallel, "
                f"need {waves} waves, but this DAG has {installation.max_waves}; {way}, which runs "
                "any number of them"
            )


def _not_permitted(made: Draft, installation: Installation) -> Iterator[str]:
    """Ask backends and deployer whether they may and can do what the spec wants of them."""
    spec = made.spec
    if made.sound(*_PERMITTED):
        yield from _backends_refuse(made, installation)
    elif made.sound("trial.backend", "trial.options"):
        yield from wrong_options(spec.trial, "trial")
    if spec.deploy is not None and made.sound("deploy.to", "deploy.options"):
        yield from told(installation.deployer, spec)


def wrong_options(trial: TrialSpec, at: str) -> list[str]:
    """Give what is wrong with a backend's options by themselves, whatever is allowed."""
    return told(
        lambda: parse(
            load_part("backend", trial.backend).Options, trial.options, at=f"{at}.options"
        )
    )


def _backends_refuse(made: Draft, installation: Installation) -> Iterator[str]:
    spec = made.spec
    yield from _refused(spec, installation)
    if made.sound("final.trial") and spec.for_final is not spec:
        yield from (f"final.{line}" for line in _refused(spec.for_final, installation))
    if made.sound("metrics.collector", "artifacts", "final.trial"):
        yield from _without_output(spec, installation)


def _refused(spec: Spec, installation: Installation) -> list[str]:
    """Give what the backend does not permit; of an unknown backend, `validate` tells."""
    if spec.trial.backend not in installation.backends:
        return []
    return told(lambda: installation.backend(spec).permit(spec.trial))


def _built(spec: Spec, installation: Installation) -> list[Backend]:
    """Build the backend; [] if it is not there, or if its rules are wrong."""
    try:
        return [installation.backend(spec)]
    except HpoError:
        return []


def _without_output(spec: Spec, installation: Installation) -> Iterator[str]:
    """Yield what reads files of trials if the backend keeps no files."""
    if spec.metrics.collector != "stdout":
        for one in (spec, spec.for_final):
            if not _returns(one):
                yield from _unread(
                    one, installation, f"metrics.collector: {spec.metrics.collector}"
                )
    if spec.deploy is not None:
        yield from _unread(spec.for_final, installation, f"deploy.to: {spec.deploy.to}")


def _returns(spec: Spec) -> bool:
    """Say whether the backend brings what the collector reads, without any files of a trial."""
    row = backends().get(spec.trial.backend)
    return spec.metrics.collector in OF_RETURNED and row is not None and row.returns


def _unread(spec: Spec, installation: Installation, needs: str) -> Iterator[str]:
    built = [] if spec.artifacts else _built(spec, installation)
    if any(not backend.keeps_output for backend in built):
        yield (
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
    in_slots: bool = True,
) -> Run:
    """Start the run, or give the one started before; of a bad conf only the refusal is stored.

    A run with final training tries the champion's parameters first. The advice of earlier runs is
    fixed here, once, and so is the mode where the spec leaves it to `auto`. `by_file` says that the
    spec is from an operator's file, not from a conf.
    """
    try:
        kind: dict[str, Any] = {"backend": backend, "by_file": by_file, "in_slots": in_slots}
        spec = validate(conf, installation, **kind)
        experiment = within(installation.team, spec.name)
        refused = [] if by_file or spec.deploy is None else _other_champion(store, key, experiment)
        if why := quotas.spent(store, spec, installation):
            refused.append(f"trial.resources.gpu: {why}")
        elif why := quotas.spent(store, spec.for_final, installation):
            refused.append(f"final.trial.resources.gpu: {why}")
        taken, why = _fingerprint(spec, installation, refused)
    except SpecError as error:
        by = {"triggered_by": triggered_by, "way": provenance.way}
        store.refuse_run(key, str(error), team=installation.team, **by)
        raise
    asked = spec.digest
    spec, advice = _warmed(store, spec, installation.team)
    spec, advice = _with_mode(store, spec, advice, experiment, in_slots=in_slots)
    return store.start_run(
        key,
        spec,
        triggered_by=triggered_by,
        provenance=replace(provenance, store=store.id, asked=asked, config=installation.config),
        advice=advice.noting(why),
        fingerprint=taken,
        team=installation.team,
    )


def _fingerprint(
    spec: Spec, installation: Installation, refused: list[str]
) -> tuple[str | None, str | None]:
    """Take the fingerprint; SpecError tells what was `refused` before as well."""
    try:
        found = fingerprint.take(spec, installation.inputs)
    except SpecError as error:
        raise refusal([*refused, *str(error).split("\n")]) from None
    if refused:
        raise refusal(refused)
    return found


def _other_champion(store: Store, key: RunKey, experiment: str) -> list[str]:
    """Refuse a conf that would replace another DAG's champion: a name gives no right to it."""
    champion = store.models.champion(experiment)
    made = store.run_by_id(champion.run_id).key.dag_id if champion else key.dag_id
    if shape.same_confs(made, key.dag_id):
        return []
    return [
        f"deploy: the champion of {experiment} is made by DAG {made}, which alone may replace "
        "it; leave deploy out, or take another name"
    ]


def _warmed(store: Store, spec: Spec, team: str) -> tuple[Spec, Advice]:
    """Begin with the champion's parameters, and ask earlier runs for advice."""
    asked, said = spec.warm_start, None
    champion = store.models.champion(within(team, spec.name)) if spec.final else None
    if champion is not None:
        spec, said = warm_start.first_point(spec, champion.params)
    named = [one if owner_of(one) else within(team, one) for one in spec.advised_by]
    past = store.past(named, asked.runs) if asked else []
    return spec, warm_start.advise(spec, past).noting(said)


def _with_mode(
    store: Store, spec: Spec, advice: Advice, experiment: str, *, in_slots: bool
) -> tuple[Spec, Advice]:
    """Choose the mode if that is left to `auto`: whoever goes on with the run finds it there."""
    if spec.mode != mode.AUTO:
        return spec, advice
    name, why = mode.chosen(spec, store.past([experiment], mode.RUNS), in_slots=in_slots)
    return spec.changed(mode=name), replace(advice, mode=f"{name} ({why})")
