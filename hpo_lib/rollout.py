"""From a challenger to the champion that serves, and back: the store decides, deployers follow.

A champion is made in one transaction, and only after it has been tried out. From then on whoever
comes by (this call, its retry, the next run, housekeeping) makes what is served equal to what the
store names: killed at any point, nothing is lost but time.
"""

from __future__ import annotations

from collections.abc import Callable

from hpo_lib.deployers import Deployer, Release
from hpo_lib.errors import HpoError, Superseded, TransientError
from hpo_lib.models import Models
from hpo_lib.places import Place
from hpo_lib.record import Model, ModelStatus

Emit = Callable[[str], None]
#: Opens the folder of a model's files.
Files = Callable[[Model], Place]
#: Gives the deployer that a model's own run asked for: the one before may serve elsewhere, or
#: otherwise.
Deployers = Callable[[Model], Deployer]
#: A champion that is replaced again and again while it is rolled out.
_ROUNDS = 10


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
    """Serve what the store names as champion, and give it; None if it names none.

    A champion that has never been seen serving well, and does not, is rejected, and the one that
    it replaced is champion again; one that has raises TransientError, for people to look. Where
    earlier champions served, if that is elsewhere, nothing is served any more. What serves already
    is left alone.
    """
    for _ in range(_ROUNDS):
        champion = models.champion(experiment)
        if champion is None:
            return None
        deployer = deployers(champion)
        if champion.served and deployer.serving() == champion.version:
            return champion
        _serve(models, champion, deployers, files, emit)
        now = models.champion(experiment)
        if now is not None and now.version == champion.version and now.served:
            _tidy(models, now, deployer)
            return now
    raise Superseded(f"the champion of {experiment} changed {_ROUNDS} times while it was deployed")


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


def _serve(models: Models, champion: Model, deployers: Deployers, files: Files, emit: Emit) -> None:
    """Switch to the champion and look whether it serves; if not, take its title."""
    deployer = deployers(champion)
    now = deployer.serving()
    if now != champion.version:
        serves = "nothing serves" if now is None else f"version {now} serves"
        emit(f"{serves}, and version {champion.version} is to: it is brought there")
        deployer.stage(_release(champion, files))
        deployer.switch(champion.version)
        emit(f"switched to version {champion.version}")
    trouble = deployer.verify(champion.version)
    if trouble.passed:
        _leave(models, champion, deployers, emit)
        models.serves(champion)
        emit(f"version {champion.version} serves")
    elif champion.served:
        raise TransientError(f"version {champion.version} has served before, not now: {trouble}")
    else:
        emit(f"version {champion.version} does not serve: {trouble}")
        _undo(
            models,
            champion,
            deployers,
            f"it did not serve once it was switched to: {trouble}",
            emit,
        )


def _undo(models: Models, champion: Model, deployers: Deployers, reason: str, emit: Emit) -> None:
    """Reject the champion, which serves nobody any more; the one before is champion again.

    Where that one serves from the same place, it is there until it is switched back.
    """
    deployer, before = deployers(champion), champion.against
    heir = None if before is None else models.get(champion.experiment, before)
    if heir is None or deployers(heir).address != deployer.address:
        deployer.withdraw()
        emit(f"nothing is served at {deployer.address} any more")
    now = models.replace(champion, ModelStatus.REJECTED, reason, by=before)
    emit(f"version {now.version} is champion again" if now else "there is no champion any more")


def _leave(models: Models, champion: Model, deployers: Deployers, emit: Emit) -> None:
    """Have what earlier champions served elsewhere serve nobody; name what cannot be asked."""
    known = {deployers(champion).address}
    for model in models.of(champion.experiment):
        if model.status is not ModelStatus.RETIRED:
            continue
        try:
            deployer = deployers(model)
            if deployer.address in known:
                continue
            known.add(deployer.address)
            if (version := deployer.serving()) is not None:
                deployer.withdraw()
                emit(f"version {version} is not served at {deployer.address} any more")
        except HpoError as error:
            emit(f"version {model.version} may still be served where it was: {error}")


def _tidy(models: Models, champion: Model, deployer: Deployer) -> None:
    """Drop staged versions that nobody will go back to at once."""
    for model in models.of(champion.experiment):
        ended = model.status in (ModelStatus.REJECTED, ModelStatus.RETIRED)
        if ended and model.version != champion.against:
            deployer.drop(model.version)


def _refused(models: Models, model: Model, deployer: Deployer, reason: str) -> Model:
    deployer.drop(model.version)
    return models.reject(model, reason)


def _why(model: Model) -> str:
    verdict = model.verdict or {}
    said = (verdict.get("reason") or "promoted", verdict.get("approved"))
    return " ".join(str(one) for one in said if one)


def _release(model: Model, files: Files) -> Release:
    return Release(model.experiment, model.version, files(model), model.manifest)
