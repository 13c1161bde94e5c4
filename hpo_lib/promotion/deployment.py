"""Which model of an experiment serves: deploying a challenger, rolling back, healing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hpo_lib.core.teams import owner_of
from hpo_lib.deployers import Deployer
from hpo_lib.errors import NotFound, SpecError
from hpo_lib.installation import Installation
from hpo_lib.promotion import challenger, rollout
from hpo_lib.promotion.rollout import Emit
from hpo_lib.records import Model, ModelStatus, RunKey
from hpo_lib.records.audit import Actor
from hpo_lib.spec import Spec
from hpo_lib.store import Store


def deploy(store: Store, key: RunKey, installation: Installation, emit: Emit) -> Model | None:
    """Deploy a run's challenger if its verdict says so, and give what became of it.

    In any case the champion that the store names is made to serve. The champion from before is
    checked only if it stays: its place may be gone, and this run may be the one that leaves it.
    SpecError if the challenger needs an approval that nobody has given.
    """
    run = store.run(key)
    spec = run.spec
    model = store.models.of_run(run.id)
    if model is not None and model.files and model.promising:
        _check_approved(spec, model)
        deployers, files = _deployers(store, installation), _files(installation)
        model = rollout.roll_out(store.models, model, deployers, files, emit)
    if model is None or model.status is not ModelStatus.CHAMPION:
        serve(store, run.experiment, installation, emit)
    return model


def _check_approved(spec: Spec, model: Model) -> None:
    """Require a recorded approval: marking the task `approve` as done is not enough."""
    if model.needs_approval(spec.deploy) and model.approved is None:
        raise SpecError(
            f"deploy.approval: nobody has approved version {model.version} of "
            f"{model.experiment}; clear the task approve, and answer it"
        )


def serve(store: Store, experiment: str, installation: Installation, emit: Emit) -> Model | None:
    """Make the champion that the store names serve, and give it."""
    deployers, files = _deployers(store, installation), _files(installation)
    return rollout.reconcile(store.models, experiment, deployers, files, emit)


def roll_back(
    store: Store, experiment: str, version: int | None, by: Actor, why: str = ""
) -> Model:
    """Make an earlier champion the champion again; what serves follows with `serve`."""
    champion = store.models.champion(experiment)
    if champion is None:
        raise NotFound(f"experiment {experiment} has no champion")
    reason = f"rolled back by {by.who}{f': {why}' if why else ''}"
    return rollout.roll_back(store.models, champion, version, reason, by)


def heal(
    store: Store, installation: Installation, is_over: Callable[[RunKey], bool]
) -> Iterator[str]:
    """Make every experiment serve its champion, and reject challengers that nobody will deploy.

    Nobody will deploy those whose DAG run `is_over`. Yields a sentence for each thing done.
    """
    experiments = store.models.experiments()
    deployers, files = _deployers(store, installation), _files(installation)
    for experiment in experiments:
        said: list[str] = []
        _reject_left_over(store, experiment, installation, is_over, said.append)
        with _telling(said.append):
            rollout.follow(store.models, experiment, deployers, files, said.append)
        yield from (f"{experiment}: {sentence}" for sentence in said)
    # Only once all champions serve: places that were left long ago may be slow to answer.
    for experiment in experiments:
        said = []
        with _telling(said.append):
            rollout.leave(store.models, experiment, deployers, said.append)
        yield from (f"{experiment}: {sentence}" for sentence in said)


@contextmanager
def _telling(emit: Emit) -> Iterator[None]:
    """Say what goes wrong, and go on with what else there is to do."""
    try:
        yield
    except Exception as error:
        emit(f"could not be looked after: {str(error) or repr(error)}")


def _reject_left_over(
    store: Store,
    experiment: str,
    installation: Installation,
    is_over: Callable[[RunKey], bool],
    emit: Emit,
) -> None:
    """Reject challengers of runs that are over, and drop what they have staged."""
    with _telling(emit):
        for model in store.models.of(experiment):
            if model.status is ModelStatus.CHALLENGER:
                with _telling(emit):
                    _reject_if_left_over(store, model, installation, is_over, emit)


def _reject_if_left_over(
    store: Store,
    model: Model,
    installation: Installation,
    is_over: Callable[[RunKey], bool],
    emit: Emit,
) -> None:
    run = store.run_by_id(model.run_id)
    if run.outline.deploy and is_over(run.key):
        _deployers(store, installation)(model).drop(model.version)
        store.models.reject(model, "its run ended before it was deployed")
        emit(f"version {model.version} is rejected: its run ended before it was deployed")


def _deployers(store: Store, installation: Installation) -> rollout.Deployers:
    """Give a function that builds a model's deployer, one for all deployed in the same way."""
    built: dict[tuple[str, str], Deployer] = {}

    def deployer_of(model: Model) -> Deployer:
        run = store.run_by_id(model.run_id)
        way = (run.experiment, run.outline.deploy)
        if way not in built:
            built[way] = installation.of(run.team).deployer(run.spec, store.id)
        return built[way]

    return deployer_of


def _files(installation: Installation) -> rollout.Files:
    return lambda model: challenger.files_of(model, installation.of(owner_of(model.experiment)))
