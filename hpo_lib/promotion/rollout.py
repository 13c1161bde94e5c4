"""From a challenger to the champion that serves, and back: the store decides, deployers follow.

A champion is made in one transaction, and only after it has been tried out. From then on whoever
comes by (this call, its retry, the next run, housekeeping) makes the champion that the store names
serve: a process that is killed at any point loses nothing but time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hpo_lib.deployers import Deployer, Release
from hpo_lib.errors import Superseded, TransientError
from hpo_lib.files.places import Place
from hpo_lib.records import Model, ModelStatus
from hpo_lib.records.audit import ITSELF, Actor
from hpo_lib.store.models import Models

Emit = Callable[[str], None]
#: Opens the folder of a model's files.
Files = Callable[[Model], Place]
#: Gives the deployer that a model's own run asked for: each model may serve at another place.
Deployers = Callable[[Model], Deployer]
#: How often a champion may be replaced during its rollout before the rollout gives up.
_ROUNDS = 10
_FRESH = timedelta(days=1)


def roll_out(models: Models, model: Model, deployers: Deployers, files: Files, emit: Emit) -> Model:
    """Try a challenger out, make it the champion and serve it; give what it is then.

    What fails on the way rejects it, with the reason, and leaves the old champion serving.
    """
    if model.status is ModelStatus.CHALLENGER:
        deployer, release = deployers(model), _release(model, files)
        emit(f"staging version {model.version}")
        deployer.stage(release)
        trouble = deployer.try_out(release)
        if not trouble.passed:
            return _refused(models, model, deployer, f"its smoke test failed: {trouble}")
        emit(f"version {model.version} has passed its smoke test")
        try:
            model = models.promote(model, _why(model))
        except Superseded as error:
            return _refused(models, model, deployer, str(error))
        emit(f"version {model.version} is the champion")
    if model.status is ModelStatus.CHAMPION:
        reconcile(models, model.experiment, deployers, files, emit)
    return models.get(model.experiment, model.version)


def reconcile(
    models: Models, experiment: str, deployers: Deployers, files: Files, emit: Emit
) -> Model | None:
    """Serve what the store names as champion, nothing else, and give it; None if it names none.

    Calls `follow` and `leave` until neither has anything left to do.
    """
    for _ in range(_ROUNDS):
        champion = follow(models, experiment, deployers, files, emit)
        if not leave(models, experiment, deployers, emit):
            return champion
    raise Superseded(f"the champion of {experiment} changed {_ROUNDS} times while it was deployed")


def follow(
    models: Models, experiment: str, deployers: Deployers, files: Files, emit: Emit
) -> Model | None:
    """Serve what the store names as champion, and give it; None if it names none.

    A champion that serves already is left alone. If it does not come to serve well and never has,
    it is rejected, and the one that it replaced is champion again. If it has served before,
    TransientError is raised, for people to look.
    """
    for _ in range(_ROUNDS):
        champion = models.champion(experiment)
        if champion is None:
            return None
        try:
            deployer = deployers(champion)
            if champion.served and deployer.serving() == champion.version:
                return champion
            _serve(models, champion, deployer, files, emit)
        except Exception:
            # Even while the champion cannot serve, a rejected model must not.
            leave(models, experiment, deployers, emit, only=ModelStatus.REJECTED)
            raise
    raise Superseded(f"the champion of {experiment} changed {_ROUNDS} times while it was deployed")


def leave(
    models: Models,
    experiment: str,
    deployers: Deployers,
    emit: Emit,
    only: ModelStatus | None = None,
) -> bool:
    """Withdraw what serves where earlier champions served, unless the champion serves there.

    Says whether anything served there. With `only`, a place is left alone unless the version that
    it serves has this status. Without it, staged files of models that changed within a day are
    dropped, except the previous champion's, so that a rollback is quick. A place that cannot be
    asked is reported and skipped; the next call asks it again.
    """
    champion, left, told, found = models.champion(experiment), set(), set(), False
    kept = None if champion is None else champion.against
    for model in _earlier(models, experiment):
        try:
            deployer = deployers(model)
            if deployer.address not in left:
                left.add(deployer.address)
                found |= _withdraw(models, experiment, deployer, deployers, emit, only)
            if only is None and model.version != kept and _is_fresh(model):
                deployer.drop(model.version)
        except Exception as error:
            said = str(error) or repr(error)
            if said not in told:
                told.add(said)
                emit(f"version {model.version} may still be served or staged where it was: {said}")
    return found


def roll_back(
    models: Models, champion: Model, version: int | None, reason: str, by: Actor = ITSELF
) -> Model:
    """Make an earlier champion the champion again: `version`, or the one that this one replaced.

    Superseded if there is none to go back to. `reconcile` then makes it serve.
    """
    chosen = version if version is not None else champion.against
    if chosen is None:
        raise Superseded(f"version {champion.version} is the first champion: nothing to go back to")
    heir = models.get(champion.experiment, chosen)
    if heir.status is not ModelStatus.RETIRED:
        raise Superseded(f"version {heir.version} is {heir.status}; only retired ones come back")
    now = models.replace(champion, ModelStatus.RETIRED, reason, by=heir.version, actor=by)
    if now is None or now.version != heir.version:
        raise Superseded("the champion has changed meanwhile: look again")
    return now


def _serve(models: Models, champion: Model, deployer: Deployer, files: Files, emit: Emit) -> None:
    """Switch to the champion; if it does not serve and never has, take its title away."""
    now = deployer.serving()
    if now != champion.version:
        serves = "nothing serves" if now is None else f"version {now} serves"
        emit(f"{serves}, and version {champion.version} is to: it is brought there")
        deployer.stage(_release(champion, files))
        deployer.switch(champion.version)
        emit(f"switched to version {champion.version}")
    trouble = deployer.verify(champion.version)
    if trouble.passed:
        models.serves(champion)
        emit(f"version {champion.version} serves")
    elif models.get(champion.experiment, champion.version).served:
        raise TransientError(f"version {champion.version} has served before, not now: {trouble}")
    else:
        emit(f"version {champion.version} does not serve: {trouble}")
        _undo(models, champion, f"it did not serve once it was switched to: {trouble}", emit)


def _undo(models: Models, champion: Model, reason: str, emit: Emit) -> None:
    heir = models.replace(champion, ModelStatus.REJECTED, reason, by=champion.against)
    emit(f"version {heir.version} is champion again" if heir else "there is no champion any more")


def _withdraw(
    models: Models,
    experiment: str,
    deployer: Deployer,
    deployers: Deployers,
    emit: Emit,
    only: ModelStatus | None,
) -> bool:
    """Withdraw what a place serves, also while it is down; say whether it served anything."""
    champion = models.champion(experiment)
    if only is None and champion and deployers(champion).address == deployer.address:
        return False
    served = deployer.serving()
    if champion is not None and served == champion.version:
        return False  # the same place under two names
    if only is not None and (served is None or models.get(experiment, served).status is not only):
        return False
    deployer.withdraw()
    if served is not None:
        emit(f"version {served} is not served at {deployer.address} any more")
    return served is not None


def _earlier(models: Models, experiment: str) -> list[Model]:
    """List the models that were champion and have been rejected or retired."""
    crowned = {
        event.version for event in models.events(experiment) if event.status is ModelStatus.CHAMPION
    }
    ended = (ModelStatus.REJECTED, ModelStatus.RETIRED)
    return [m for m in models.of(experiment) if m.version in crowned and m.status in ended]


def _is_fresh(model: Model) -> bool:
    """Say whether a model changed within a day, so that staged files may be left of it."""
    return datetime.now(UTC) - model.changed_at < _FRESH


def _refused(models: Models, model: Model, deployer: Deployer, reason: str) -> Model:
    deployer.drop(model.version)
    return models.reject(model, reason)


def _why(model: Model) -> str:
    said = model.verdict_reason or "promoted"
    return f"{said} {model.approved}" if model.approved else said


def _release(model: Model, files: Files) -> Release:
    return Release(model.experiment, model.version, files(model), model.manifest.document)
