"""An experiment's models: challengers, its one champion, and how each came to be what it is.

Every method is one transaction. Whoever changes a model's status holds its experiment's row, and
the database itself refuses a second champion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select, update

from hpo_lib.core.trial import Params
from hpo_lib.errors import NotFound, Superseded
from hpo_lib.evaluation.drift import ChampionCheck
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.records import Model, ModelEvent, ModelStatus, Run, Trained
from hpo_lib.records.audit import ITSELF, SOMEBODY, Actor, Deed
from hpo_lib.store import audit
from hpo_lib.store.database import Database
from hpo_lib.store.queries import read_run
from hpo_lib.store.rows import event_of, judgement_of, judgement_row, model_of
from hpo_lib.store.schema import audit as trail
from hpo_lib.store.schema import experiments, model_events, models

#: How many champion checks are kept with a model, the newest.
_MAX_CHECKS = 60
#: What is older is no news.
_NEWS = timedelta(days=1)
_ENDED = (ModelStatus.REJECTED, ModelStatus.RETIRED)


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a store; `Store.models` gives it."""

    database: Database
    now: Callable[[], datetime]

    def of(self, experiment: str) -> list[Model]:
        """List an experiment's models, the newest first."""
        query = select(models).where(models.c.experiment == experiment)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(models.c.version.desc()))
            return [model_of(row) for row in rows]

    def get(self, experiment: str, version: int) -> Model:
        """Give a model; NotFound."""
        with self.database.read() as connection:
            return _get(connection, experiment, version)

    def of_run(self, run_id: int) -> Model | None:
        """Give the model of a run, None if it has none (yet)."""
        with self.database.read() as connection:
            return of_run(connection, run_id)

    def seen_by(self, run: Run) -> Model | None:
        """Give the champion that a run has checked, None if it has checked none."""
        with self.database.read() as connection:
            return seen_by(connection, run.experiment, run.id)

    def champion(self, experiment: str) -> Model | None:
        """Give an experiment's champion, None if it has none."""
        with self.database.read() as connection:
            return champion(connection, experiment)

    def experiments(self) -> list[str]:
        """Name the experiments that have models."""
        with self.database.read() as connection:
            names = select(models.c.experiment).distinct().order_by(models.c.experiment)
            return list(connection.execute(names).scalars())

    def events(self, experiment: str) -> list[ModelEvent]:
        """List what happened to an experiment's models, in order."""
        query = select(model_events).where(model_events.c.experiment == experiment)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(model_events.c.id))
            return [event_of(row) for row in rows]

    def judged(self, model: Model, verdict: Verdict, made: Trained | None = None) -> Model:
        """Add the gate's verdict and, if final training has made something, what."""
        values: dict[str, Any] = {}
        if made is not None:
            values = {
                "trial": made.trial,
                "files": made.files,
                "metrics": dict(made.metrics),
                "manifest": dict(made.manifest.document),
            }
        return self._say(model, lambda now: replace(now, verdict=verdict), values)

    def approved(self, model: Model, said: str, by: Actor = SOMEBODY) -> Model:
        """Add that somebody has approved a model, in words; said again, it is kept once."""
        with self.database.write() as connection:
            lock(connection, model.experiment)
            now = _get(connection, model.experiment, model.version)
            if now.approved != said:
                _set(connection, now.experiment, now.version, _spoken(replace(now, approved=said)))
                self._audit(connection, Deed.APPROVED, by, now, said)
            return _get(connection, model.experiment, model.version)

    def noted(self, model: Model, check: ChampionCheck) -> Model:
        """Add a run's check of a champion, in place of the one that it made before."""

        def checked(now: Model) -> Model:
            others = [one for one in now.checks if one.run != check.run]
            newest = sorted([*others, check], key=lambda one: one.run)[-_MAX_CHECKS:]
            return replace(now, checks=tuple(newest))

        return self._say(model, checked)

    def _say(
        self, model: Model, change: Callable[[Model], Model], values: Mapping[str, Any] = {}
    ) -> Model:
        """Change what is said of a model as it is now, and further columns of its row."""
        with self.database.write() as connection:
            lock(connection, model.experiment)
            changed = change(_get(connection, model.experiment, model.version))
            _set(connection, model.experiment, model.version, {**values, **_spoken(changed)})
            return _get(connection, model.experiment, model.version)

    def serves(self, model: Model) -> None:
        """Note that a champion has been seen serving well."""
        with self.database.write() as connection:
            lock(connection, model.experiment)
            _set(connection, model.experiment, model.version, {"served": True})

    def reject(self, model: Model, reason: str, by: Actor = ITSELF) -> Model:
        """Reject a challenger; a model with another status by now stays as it is."""
        with self.database.write() as connection:
            lock(connection, model.experiment)
            now = _get(connection, model.experiment, model.version)
            if now.status is ModelStatus.CHALLENGER:
                self._change(connection, now, ModelStatus.REJECTED, reason)
                self._audit(connection, Deed.REJECTED, by, now, reason)
            return _get(connection, model.experiment, model.version)

    def promote(self, model: Model, reason: str) -> Model:
        """Make a challenger the champion, and retire the one before; done again, it does nothing.

        Superseded if the champion is not the one that it was compared with, or if the model has
        been rejected or retired meanwhile.
        """
        with self.database.write() as connection:
            lock(connection, model.experiment)
            now = _get(connection, model.experiment, model.version)
            if now.status is ModelStatus.CHAMPION:
                return now
            before = champion(connection, model.experiment)
            if now.status in _ENDED:
                raise Superseded(f"version {now.version} is {now.status}: {now.reason}")
            if (before.version if before else None) != now.against:
                raise Superseded(_superseded(now, before))
            if before is not None:
                why = f"version {now.version} has taken its place"
                self._change(connection, before, ModelStatus.RETIRED, why)
            self._change(connection, now, ModelStatus.CHAMPION, reason)
            self._audit(connection, Deed.PROMOTED, ITSELF, now, reason)
            return _get(connection, model.experiment, model.version)

    def replace(
        self,
        model: Model,
        status: ModelStatus,
        reason: str,
        *,
        by: int | None,
        actor: Actor = ITSELF,
    ) -> Model | None:
        """Take the championship from a model and give it to version `by`; give the champion.

        `status` (REJECTED or RETIRED) is what becomes of the model. A model that is not the
        champion any more stays as it is. NotFound if there is no version `by`. The `actor` is who
        wants that.
        """
        if status not in _ENDED:
            raise ValueError(f"a champion can become rejected or retired, got {status}")
        with self.database.write() as connection:
            lock(connection, model.experiment)
            now = champion(connection, model.experiment)
            if now is None or now.version != model.version:
                return now
            heir = None if by is None else _get(connection, model.experiment, by)
            self._change(connection, now, status, reason)
            deed = Deed.ROLLED_BACK if status is ModelStatus.RETIRED else Deed.REJECTED
            self._audit(connection, deed, actor, now, reason)
            if heir is not None:
                why = f"in the place of version {now.version}: {reason}"
                self._change(connection, heir, ModelStatus.CHAMPION, why)
            return champion(connection, model.experiment)

    def unannounced(self) -> list[Model]:
        """Give the champions that people have brought back within a day and nobody was told of."""
        heard = (Deed.ROLLED_BACK, Deed.PROMOTED, Deed.ANNOUNCED)
        newest = select(func.max(trail.c.id)).where(trail.c.deed.in_(heard))
        query = select(trail.c.experiment).where(
            trail.c.id.in_(newest.group_by(trail.c.experiment)),
            trail.c.deed == Deed.ROLLED_BACK,
            trail.c.time > self.now() - _NEWS,
        )
        with self.database.read() as connection:
            names = [row.experiment for row in connection.execute(query)]
            found = [champion(connection, name) for name in names]
        return [one for one in found if one is not None]

    def announced(self, model: Model) -> None:
        """Note that those who want to know of a champion have been told."""
        with self.database.write() as connection:
            self._audit(connection, Deed.ANNOUNCED, ITSELF, model, model.reason)

    def _audit(
        self, connection: Connection, deed: Deed, by: Actor, model: Model, reason: str
    ) -> None:
        told = {"version": model.version, "reason": reason}
        run = read_run(connection, model.run_id)
        audit.enter_of(connection, deed, by, self.now(), run, told)

    def _change(
        self, connection: Connection, model: Model, status: ModelStatus, reason: str
    ) -> None:
        change(connection, model.experiment, model.version, status, reason, self.now())


def challenge(
    connection: Connection,
    experiment: str,
    run_id: int,
    source: int,
    params: Params,
    now: datetime,
) -> None:
    """Enter the challenger of a run, to be compared with the champion of this moment."""
    lock(connection, experiment)
    if of_run(connection, run_id) is not None:
        return
    before = champion(connection, experiment)
    highest = select(func.max(models.c.version)).where(models.c.experiment == experiment)
    version = (connection.execute(highest).scalar() or 0) + 1
    values = {
        "experiment": experiment,
        "version": version,
        "run_id": run_id,
        "source": source,
        "params": dict(params),
        "against": before.version if before else None,
        "files": "",
        "metrics": {},
        "manifest": {},
        "status": ModelStatus.CHALLENGER,
        "reason": "",
        "created_at": now,
        "changed_at": now,
    }
    connection.execute(insert(models).values(values))
    why = f"trial {source} of run {run_id} is trained for the last time"
    change(connection, experiment, version, ModelStatus.CHALLENGER, why, now)


def change(
    connection: Connection,
    experiment: str,
    version: int,
    status: ModelStatus,
    reason: str,
    now: datetime,
) -> None:
    """Change a model's status and write down why."""
    values = {"status": status, "reason": reason, "changed_at": now}
    _set(connection, experiment, version, values)
    event = {"experiment": experiment, "version": version, "status": status, "reason": reason}
    connection.execute(insert(model_events).values(event | {"time": now}))


def champion(connection: Connection, experiment: str) -> Model | None:
    """Give an experiment's champion."""
    query = select(models).where(
        models.c.experiment == experiment, models.c.status == ModelStatus.CHAMPION
    )
    row = connection.execute(query).first()
    return None if row is None else model_of(row)


def seen_by(connection: Connection, experiment: str, run_id: int) -> Model | None:
    """Give the champion that a run has checked, None if it has checked none.

    Only models that have been champion are checked, so the many others are not read.
    """
    crowned = select(model_events.c.version).where(
        model_events.c.experiment == experiment, model_events.c.status == ModelStatus.CHAMPION
    )
    query = (
        select(models.c.version, models.c.verdict)
        .where(models.c.experiment == experiment, models.c.version.in_(crowned))
        .order_by(models.c.version.desc())
    )
    for version, said in connection.execute(query):
        if any(check.run == run_id for check in judgement_of(said)["checks"]):
            return _get(connection, experiment, version)
    return None


def of_run(connection: Connection, run_id: int) -> Model | None:
    """Give the model of a run."""
    row = connection.execute(select(models).where(models.c.run_id == run_id)).first()
    return None if row is None else model_of(row)


def lock(connection: Connection, experiment: str) -> None:
    """Keep every other writer away from an experiment's models until the transaction ends."""
    query = select(experiments.c.name).where(experiments.c.name == experiment)
    connection.execute(query.with_for_update()).first()


def _spoken(model: Model) -> dict[str, Any]:
    """Give the column that holds all that was said of a model."""
    return {"verdict": judgement_row(model)}


def _get(connection: Connection, experiment: str, version: int) -> Model:
    row = connection.execute(select(models).where(_this(experiment, version))).first()
    if row is None:
        raise NotFound(f"experiment {experiment} has no model of version {version}")
    return model_of(row)


def _set(connection: Connection, experiment: str, version: int, values: Mapping[str, Any]) -> None:
    connection.execute(update(models).where(_this(experiment, version)).values(**values))


def _this(experiment: str, version: int) -> Any:
    return and_(models.c.experiment == experiment, models.c.version == version)


def _superseded(model: Model, champion: Model | None) -> str:
    then = "no champion" if model.against is None else f"version {model.against}"
    now = "there is no champion" if champion is None else f"version {champion.version} is champion"
    return f"version {model.version} was compared with {then}, and now {now}"
