"""From a challenger to the champion that serves, and back: the store decides, deployers follow.

A champion is made in one transaction, and only after it has been tried out. From then on whoever
comes by (this call, its retry, the next run, housekeeping) makes what is served equal to what the
store names: killed at any point, nothing is lost but time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hpo_lib.deployers import Deployer, Release
from hpo_lib.errors import Superseded, TransientError
from hpo_lib.files.places import Place
from hpo_lib.records import Model, ModelStatus
from hpo_lib.store.models import Models

Emit = Callable[[str], None]
#: Opens the folder of a model's files.
Files = Callable[[Model], Place]
#: Gives the deployer that a model's own run asked for: the one before may serve elsewhere, or
#: otherwise.
Deployers = Callable[[Model], Deployer]
#: A champion that is replaced again and again while it is rolled out.
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

    As `follow` and `leave` do, until neither has anything to do.
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

    A champion that has never been seen serving well, and does not, is rejected, and the one that
    it replaced is champion again; one that has raises TransientError, for people to look. What
    serves already is left alone.
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
            # Whatever keeps a champion from serving, nobody is to meet a rejected one meanwhile.
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
    """Have nothing served where champions of before were, unless the champion is served there.

    Says whether anything was. `only` leaves alone what serves a version that is something else.
    What was staged there is dropped, but for the champion before, to go back to at once. A place
    that cannot be asked hinders nothing, is told, and is asked by the next who comes by.
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


def roll_back(models: Models, champion: Model, version: int | None, reason: str) -> Model:
    """Make an earlier champion the champion again: `version`, or the one that this one replaced.

    Superseded if there is none to go back to. What is served follows with `reconcile`.
    """
    chosen = version if version is not None else champion.against
    if chosen is None:
        raise Superseded(f"version {champion.version} is the first champion: nothing to go back to")
    heir = models.get(champion.experiment, chosen)
    if heir.status is not ModelStatus.RETIRED:
        raise Superseded(f"version {heir.version} is {heir.status}; only retired ones come back")
    now = models.replace(champion, ModelStatus.RETIRED, reason, by=heir.version)
    if now is None or now.version != heir.version:
        raise Superseded("the champion has changed meanwhile: look again")
    return now


def _serve(models: Models, champion: Model, deployer: Deployer, files: Files, emit: Emit) -> None:
    """Switch to the champion and look whether it serves; if not, take its title."""
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
        return False  # one place by two names
    if only is not None and (served is None or models.get(experiment, served).status is not only):
        return False
    deployer.withdraw()
    if served is not None:
        emit(f"version {served} is not served at {deployer.address} any more")
    return served is not None


def _earlier(models: Models, experiment: str) -> list[Model]:
    """Give all that have been champion and are not."""
    crowned = {
        event.version for event in models.events(experiment) if event.status is ModelStatus.CHAMPION
    }
    ended = (ModelStatus.REJECTED, ModelStatus.RETIRED)
    return [m for m in models.of(experiment) if m.version in crowned and m.status in ended]


def _is_fresh(model: Model) -> bool:
    """Say whether something may be left of a model: for a day everybody who comes by drops it."""
    return datetime.now(UTC) - model.changed_at < _FRESH


def _refused(models: Models, model: Model, deployer: Deployer, reason: str) -> Model:
    deployer.drop(model.version)
    return models.reject(model, reason)


def _why(model: Model) -> str:
    said = model.verdict_reason or "promoted"
    return f"{said} {model.approved}" if model.approved else said


def _release(model: Model, files: Files) -> Release:
    return Release(model.experiment, model.version, files(model), model.manifest.document)
