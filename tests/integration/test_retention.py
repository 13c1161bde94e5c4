"""Retention: what goes of old runs, what stays whatever the operator says, and kills in between."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from hpo_lib.backends import AttemptName
from hpo_lib.core.teams import Retention
from hpo_lib.core.trial import Assignment, Observation
from hpo_lib.errors import NotFound, TransientError
from hpo_lib.files import artifacts
from hpo_lib.housekeeping import sweep
from hpo_lib.installation import Installation
from hpo_lib.records import (
    Advice,
    ModelStatus,
    Provenance,
    Run,
    RunKey,
    RunStatus,
    Told,
    slug_of,
)
from hpo_lib.records.audit import ITSELF, Actor, Deed
from hpo_lib.runs import admission, outputs, retention
from hpo_lib.spec import Spec, load
from hpo_lib.store import Store, upgrade
from hpo_lib.store.schema import metadata
from tests.integration.databases import OnPostgresql, OnSqlite
from tests.integration.loop import Loop
from tests.integration.models_contract import SPEC, Wave
from tests.integration.models_contract import ask as ask_final
from tests.integration.store_contract import (
    START,
    Clock,
    OnAClock,
    execute,
    handle_for,
    killed_at,
    raw,
    succeeded,
)

DAY_S = 86_400.0
MONTH = Retention(30, "retention_days")
ADA = Actor("ada", "manual")
PLAIN = load({**SPEC.dump(), "final": None, "deploy": None})
UNDEPLOYED = load({**SPEC.dump(), "deploy": None})


def here(home: Path, rules: Mapping[str, Retention | None] | None = None) -> Installation:
    """Offer a home, and for each team a rule; without rules all of them have MONTH."""

    def of(team: str) -> Installation:
        rule = MONTH if rules is None else rules.get(team)
        return Installation(home, {}, team=team, retention=lambda: rule, elsewhere=of)

    return of("")


def over(_: RunKey) -> bool:
    return True


def forget(store: Store, installation: Installation) -> list[str]:
    return list(retention.forget_old(store, installation, over))


@dataclass
class Past:
    """Puts runs into a store as they were so many days ago; the clock then shows START again."""

    store: Store
    clock: Clock
    made: int = 0

    def run(
        self,
        days: float = 60,
        team: str = "",
        spec: Spec = PLAIN,
        *,
        ends: bool = True,
        **more: Any,
    ) -> Run:
        """Run one trial, at an `x` of its own or as asked."""
        self.made += 1
        key, x = RunKey(f"hpo_{team}", f"night-{self.made}"), more.pop("x", self.made / 256)
        more = {"fingerprint": "f00d", "provenance": Provenance(store=self.store.id), **more}
        with self.at(days):
            run = self.store.start_run(key, spec, triggered_by="ada", team=team, **more)
            asked = Wave((Assignment(1, {"x": x}),))
            self.store.next_batch(run.id, "wave-01", lambda _: asked)
            if self.store.trial(run.id, 1).reused is None:
                seen = (Observation("loss", x, step=1),)
                attempt = self.store.open_attempt(run.id, 1, handle_for)
                self.store.close_attempt(attempt.id, succeeded(x, observations=seen), final=True)
            if ends:
                return self.store.finish_run(run.id, RunStatus.COMPLETE, "all trials are done")
        return run

    def model(self, days: float = 60, team: str = "", spec: Spec = SPEC) -> Run:
        """Run one trial, and make a challenger of it."""
        run = self.run(days, team, spec, ends=False)
        with self.at(days):
            self.store.next_final_batch(run.id, "final", ask_final)
            return self.store.finish_run(run.id, RunStatus.COMPLETE, "done")

    def champion(self, days: float = 60, team: str = "") -> Run:
        """Run one trial, and make its model the champion."""
        run = self.model(days, team)
        with self.at(days):
            self.store.models.promote(model_of(self.store, run), "better.")
        return run

    def rejected(self, days: float = 60, team: str = "") -> Run:
        """Run one trial, and reject its model."""
        run = self.model(days, team)
        with self.at(days):
            self.store.models.reject(model_of(self.store, run), "worse.")
        return run

    def at(self, days: float) -> Any:
        return _At(self.clock, days)


@dataclass
class _At:
    clock: Clock
    days: float

    def __enter__(self) -> None:
        self.clock.time = START - timedelta(days=self.days)

    def __exit__(self, *_: object) -> None:
        self.clock.time = START


def model_of(store: Store, run: Run) -> Any:
    model = store.models.of_run(run.id)
    assert model is not None
    return model


def numbers(store: Store) -> set[int]:
    return {run.id for run in store.runs(1_000)}


def rows_of(url: str, run_id: int) -> dict[str, int]:
    """Count what the tables hold of a run."""
    found = {}
    with raw(url).connect() as connection:
        for table in metadata.sorted_tables:
            name = "id" if table.name == "runs" else "run_id"
            if name in table.c:
                count = select(func.count()).where(table.c[name] == run_id)
                found[table.name] = connection.execute(count).scalar_one()
    return {name: count for name, count in found.items() if count}


def count(url: str, table: str) -> int:
    with raw(url).connect() as connection:
        query = select(func.count()).select_from(metadata.tables[table])
        return connection.execute(query).scalar_one()


class RetentionContract(OnAClock):
    """Retention on whatever database is under it."""

    @pytest.fixture
    def past(self, store: Store, clock: Clock) -> Past:
        return Past(store, clock)

    def test_without_a_rule_everything_stays(
        self, store: Store, past: Past, tmp_path: Path
    ) -> None:
        kept = {past.run(3_000).id, past.run(0).id}
        assert forget(store, here(tmp_path, {})) == []
        assert numbers(store) == kept

    def test_an_old_run_goes_with_all_of_its_rows_and_one_entry_says_so(
        self, url: str, store: Store, past: Past, tmp_path: Path
    ) -> None:
        old, new = past.rejected(), past.champion(0)
        before = rows_of(url, old.id)
        assert before.keys() >= {"runs", "trials", "attempts", "leases", "models", "audit"}
        (said,) = forget(store, here(tmp_path))
        assert said == f"run {old.id} of nightly is deleted (retention_days: 30)"
        assert rows_of(url, old.id) == {"audit": 1}
        (entry,) = [one for one in store.audit.entries() if one.run == old.id]
        assert (entry.who, entry.deed, entry.experiment) == (ITSELF.who, Deed.DELETED, "nightly")
        assert entry.details == {
            "rule": "retention_days: 30",
            "ended_at": str(old.ended_at),
            "attempts": 1,
            "trials": 3,
            "models": 1,
            "entries": before["audit"],
        }
        assert (count(url, "observations"), count(url, "audit_limit")) == (1, 0)
        assert {one.version for one in store.models.events("nightly")} == {2}
        assert numbers(store) == {new.id}
        assert forget(store, here(tmp_path)) == [], "once is enough"
        with pytest.raises(DBAPIError, match="append-only"):
            execute(url, "DELETE FROM audit")

    def test_a_refusal_goes_too(self, store: Store, past: Past, tmp_path: Path) -> None:
        with past.at(60):
            store.refuse_run(RunKey("hpo", "1"), "spec: is wrong", triggered_by="eve")
        last = past.run(0)
        assert len(forget(store, here(tmp_path))) == 1
        assert numbers(store) == {last.id}

    def test_a_team_s_rule_is_for_its_own_runs(
        self, store: Store, past: Past, tmp_path: Path
    ) -> None:
        runs = {team: past.run(60, team) for team in ("", "vision", "nlp")}
        past.run(0)
        rules = {"vision": Retention(40, "teams.vision.retention_days"), "": Retention(90, "r")}
        (said,) = forget(store, here(tmp_path, rules))
        assert said.endswith("of vision.nightly is deleted (teams.vision.retention_days: 40)")
        assert numbers(store) & {run.id for run in runs.values()} == {runs[""].id, runs["nlp"].id}

    def test_what_is_still_needed_stays(self, store: Store, past: Past, tmp_path: Path) -> None:
        needed = {
            "was champion, and a rollback may bring it back": past.champion(90),
            "fell as champion, and may serve somewhere": _fallen(past, 80),
            "is champion": past.champion(70),
            "may be deployed": past.model(60),
            "has the newest model": past.rejected(50),
            "goes on": past.run(50, ends=False),
            "is reused by one that goes on": (reused := past.run(50)),
            "advises one that goes on": (advisor := past.run(50)),
            "was changed by somebody a day ago": (changed := past.run(50)),
            "ended less than a month ago": past.run(29),
        }
        gone = past.run(50)
        advice = Advice((Told(advisor.id, "nightly", 1.0, ()),))
        again = past.run(1, ends=False, x=_x(store, reused), advice=advice)
        assert store.trial(again.id, 1).reused is not None
        with past.at(1):
            attempt = store.attempts(changed.id, 1)[-1]
            store.recollect(attempt.id, succeeded(0.5), changed.spec, ADA)
        forget(store, here(tmp_path))
        kept = numbers(store)
        assert {why for why, run in needed.items() if run.id not in kept} == set()
        assert gone.id not in kept
        store.finish_run(again.id, RunStatus.COMPLETE, "done")
        forget(store, here(tmp_path))
        assert numbers(store) == kept - {reused.id, advisor.id}, "needed no more"
        assert store.view(again.id).trials[0].trial.reused.run == reused.id
        heir = store.models.get("nightly", 1)
        top = store.models.champion("nightly")
        assert store.models.replace(top, ModelStatus.RETIRED, "slow", by=1).version == heir.version

    def test_a_model_that_nobody_deploys_goes_with_its_run(
        self, store: Store, past: Past, tmp_path: Path
    ) -> None:
        old, new = past.model(60, spec=UNDEPLOYED), past.model(0, spec=UNDEPLOYED)
        forget(store, here(tmp_path))
        assert numbers(store) == {new.id}
        assert [one.version for one in store.models.of("nightly")] == [2], old

    def test_numbers_are_never_given_again(self, store: Store, past: Past, tmp_path: Path) -> None:
        last = [past.rejected(60), past.rejected(60)][-1]
        forget(store, here(tmp_path))
        assert numbers(store) == {last.id}
        again = past.model(0)
        assert (again.id, model_of(store, again).version) == (last.id + 1, 3)

    def test_gpu_hours_of_this_month_are_still_counted(
        self, store: Store, past: Past, tmp_path: Path
    ) -> None:
        before, during = past.run(6), past.run(4)
        last = past.run(0)
        forget(store, here(tmp_path, {"": Retention(1, "retention_days")}))
        assert numbers(store) == {during.id, last.id}, before

    def test_a_run_whose_dag_run_goes_on_again_stays(
        self, store: Store, past: Past, tmp_path: Path
    ) -> None:
        old, other = past.run(60), past.run(60)
        past.run(0)
        cleared = lambda key: key != old.key  # noqa: E731
        list(retention.forget_old(store, here(tmp_path), cleared))
        assert old.id in numbers(store)
        assert other.id not in numbers(store)

    def test_a_visit_deletes_so_many_runs(
        self, store: Store, past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "MOST", 2)
        for _ in range(4):
            past.run(60)
        assert [len(forget(store, here(tmp_path))) for _ in range(3)] == [2, 1, 0]

    def test_who_is_killed_while_rows_are_deleted_has_deleted_none(
        self, url: str, store: Store, past: Past, tmp_path: Path
    ) -> None:
        old = past.rejected()
        past.champion(0)
        before = rows_of(url, old.id)
        for statement in (
            "DELETE FROM observations",
            "DELETE FROM audit_limit",
            "DELETE FROM runs",
        ):
            killed_at(statement, url, lambda own: forget(_at_start(own), here(tmp_path)))
            assert rows_of(url, old.id) == before
            assert count(url, "audit_limit") == 0
        assert len(forget(store, here(tmp_path))) == 1

    def test_a_run_that_is_needed_by_now_is_not_deleted(self, store: Store, past: Past) -> None:
        old, new = past.champion(60), past.run(0)
        assert store.old_runs.forget(old.id, MONTH) is False
        assert store.old_runs.forget(new.id, MONTH) is False
        assert numbers(store) == {old.id, new.id}
        with pytest.raises(NotFound):
            store.old_runs.forget(99, MONTH)


class TestSqlite(RetentionContract, OnSqlite):
    """A file."""


class TestPostgresql(RetentionContract, OnPostgresql):
    """A server."""


def _at_start(store: Store) -> Store:
    """Give a store that another process has opened the clock of these tests."""
    return Store(store._database, Clock())


def _x(store: Store, run: Run) -> float:
    return float(store.trial(run.id, 1).params["x"])


def _fallen(past: Past, days: float, team: str = "") -> Run:
    """Make a champion that does not serve: the one before takes its place."""
    run = past.champion(days, team)
    model = model_of(past.store, run)
    with past.at(days):
        past.store.models.replace(model, ModelStatus.REJECTED, "no answer", by=model.against)
    return run


# Whatever there is: an oracle of its own says what must stay


@dataclass(frozen=True)
class Night:
    """A run of a team, so many days ago, and what became of its model."""

    days: int
    team: str
    fate: str
    deployed: bool


nights = st.lists(
    st.builds(
        Night,
        st.integers(0, 90),
        st.sampled_from(["", "vision"]),
        st.sampled_from(["none", "goes on", "rejected", "challenger", "champion", "fell"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare the file of a store."""
    path = tmp_path_factory.mktemp("empty") / "hpo.db"
    upgrade(f"sqlite:///{path}")
    return path


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    nights=nights,
    days=st.sampled_from([1, 20, 60]),
    taken=st.none() | st.integers(0, 6),
    advised=st.none() | st.integers(0, 6),
    data=st.data(),
)
def test_nothing_goes_that_is_needed_and_nothing_else_stays(
    empty: Path,
    nights: list[Night],
    days: int,
    taken: int | None,
    advised: int | None,
    data: st.DataObject,
) -> None:
    clock, rule = Clock(), Retention(days, "retention_days")
    ordered = sorted(nights, key=lambda night: -night.days)
    with TemporaryDirectory() as folder:
        shutil.copy(empty, Path(folder) / "hpo.db")
        with Store.open(f"sqlite:///{folder}/hpo.db", now=clock) as store:
            past = Past(store, clock)
            made = [(night, _made(past, night)) for night in ordered]
            runs = [run for _, run in made]
            source = runs[taken % len(runs)] if taken is not None else None
            advisor = runs[advised % len(runs)] if advised is not None else None
            last = _last(past, source, advisor)
            if store.trial(last.id, 1).reused is None:
                source = None  # of another team, or not ended
            cleared = {one.key for one in runs if data.draw(st.booleans())}
            must_stay = _needed(made, days) | {last.id}
            must_stay |= {one.id for one in (source, advisor) if one is not None}
            must_stay |= {run.id for run in runs if run.team == "vision"}
            rules = here(Path(folder), {"": rule})
            said = list(retention.forget_old(store, rules, lambda key: key not in cleared))
            must_stay |= {run.id for run in runs if run.key in cleared}
            assert numbers(store) == must_stay, said


def _made(past: Past, night: Night) -> Run:
    if night.fate in ("none", "goes on"):
        return past.run(night.days, night.team, ends=night.fate == "none")
    if night.fate == "fell":
        return _fallen(past, night.days, night.team)
    if night.fate == "challenger":
        return past.model(night.days, night.team, SPEC if night.deployed else UNDEPLOYED)
    make = {"rejected": past.rejected, "champion": past.champion}[night.fate]
    return make(night.days, night.team)


def _last(past: Past, source: Run | None, advisor: Run | None) -> Run:
    """Begin a run today that takes the result of one earlier run, and the advice of another."""
    advice = Advice((Told(advisor.id, "nightly", 1.0, ()),)) if advisor else None
    same = {} if source is None else {"x": _x(past.store, source)}
    return past.run(0, ends=False, advice=advice, **same)


def _needed(made: list[tuple[Night, Run]], days: int) -> set[int]:
    """Say of each run by its own whether it must stay, but for what leans on it."""
    newest = {night.team: run.id for night, run in made if night.fate not in ("none", "goes on")}
    month = START.day  # the runs of the last days of April ended so many days ago
    return {
        run.id
        for night, run in made
        if night.days <= days
        or night.days < month
        or night.fate in ("goes on", "champion", "fell")
        or (night.fate == "challenger" and night.deployed)
        or run.id in newest.values()
    }


# Files


@dataclass
class Bench:
    """A run that real processes did two months ago, with its artifacts, and a refusal of today."""

    store: Store
    home: Path
    clock: Clock
    old: Run = field(init=False)
    installation: Installation = field(init=False)

    def __post_init__(self) -> None:
        """Do both."""
        self.loop = loop = Loop(self.store, self.home)
        self.kept = self.home / "kept"
        offers: Any = {f"file://{self.kept}": dict}
        more = {"artifacts": offers, "retention": lambda: MONTH}
        self.installation = loop.installation = replace(loop.installation, **more)
        with _At(self.clock, 60):
            self.old = self.done("1")
        self.new = self.store.refuse_run(RunKey("hpo_local", "2"), "wrong", triggered_by="eve")

    def done(self, name: str) -> Run:
        conf = CONF | {"artifacts": {"uri": f"file://{self.kept}", "keep": "all"}}
        run = admission.begin(
            self.store,
            RunKey("hpo_local", name),
            conf,
            self.installation,
            backend="local",
            triggered_by="ada",
            provenance=Provenance(way="manual"),
        )
        self.loop.waves(run)
        ended = self.store.finish_run(run.id, RunStatus.COMPLETE, "all trials are done")
        outputs.write_report(self.store, ended, self.installation)
        outputs.keep_artifacts(self.store, ended, self.installation)
        return ended

    def files(self, run: Run) -> list[str]:
        """Name what is on the disk of a run."""
        found = [self.home / "runs" / slug_of(run), self.kept / "leaves" / _artifacts(run)]
        return sorted(str(one) for folder in found for one in [folder, *folder.rglob("*")]
                      if one.exists())  # fmt: skip

    def sweep(self) -> list[str]:
        return list(sweep(self.store, self.installation, over))


CONF: dict[str, Any] = {
    "name": "leaves",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "sampler": {"name": "random"},
    "limits": {"max_trials": 1},
    "trial": {
        "command": [
            "/bin/sh",
            "-c",
            'cd "$HPO_OUTPUT"; mkdir -p model/deep; : > model/deep/w; ln -s / out; echo loss=1',
        ]
    },
}


def _artifacts(run: Run) -> str:
    return f"run-{run.id:06d}-{run.provenance.store[:6]}"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url, clock = f"sqlite:///{tmp_path}/hpo.db", Clock()
    upgrade(url)
    with Store.open(url, now=clock) as store:
        yield Bench(store, tmp_path, clock)


def test_housekeeping_deletes_a_run_s_folders_report_and_artifacts(bench: Bench) -> None:
    other = bench.done("3")
    before, new = bench.files(bench.old), bench.files(other)
    for part in ("report.html", "trials.csv", "output/model/deep/w", "log.txt", "result.json"):
        assert any(name.endswith(part) for name in before), part
    (said,) = bench.sweep()
    assert said == f"run {bench.old.id} of leaves is deleted (retention_days: 30)"
    assert bench.files(bench.old) == []
    assert bench.files(other) == new
    assert numbers(bench.store) == {bench.new.id, other.id}
    assert bench.sweep() == []


class Killed(BaseException):
    """Stands for SIGKILL between two steps; what is on the disk and in the store is real."""


def test_who_is_killed_between_any_two_steps_leaves_what_the_next_visit_finishes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, steps = artifacts.delete, [0]

    def at_most(allowed: int) -> Callable[[Any], None]:
        def step(folder: Any) -> None:
            steps[0] += 1
            if steps[0] > allowed:
                raise Killed
            remove(folder)

        return step

    whole = rows_of(f"sqlite:///{bench.home}/hpo.db", bench.old.id)
    for allowed in range(3):
        steps[0] = 0
        monkeypatch.setattr(artifacts, "delete", at_most(allowed))
        with pytest.raises(Killed):
            bench.sweep()
        assert rows_of(f"sqlite:///{bench.home}/hpo.db", bench.old.id) == whole
        assert bench.store.view(bench.old.id).front, "other commands read it as before"
    monkeypatch.undo()
    assert len(bench.sweep()) == 1
    assert bench.files(bench.old) == []


def test_a_killed_process_loses_no_file_s_run(bench: Bench) -> None:
    url = f"sqlite:///{bench.home}/hpo.db"

    def visit(own: Store) -> None:
        forget(_at_start(own), bench.installation)

    killed_at("DELETE FROM attempts", url, visit)
    assert bench.files(bench.old) == []
    assert bench.store.run_by_id(bench.old.id) == bench.old
    assert len(bench.sweep()) == 1
    assert rows_of(url, bench.old.id).keys() == {"audit"}


def test_another_store_s_attempts_in_the_same_home_stay(bench: Bench) -> None:
    theirs = AttemptName("0123456789ab", slug_of(bench.old), 1, 1).folder(bench.home)
    (theirs / "output").mkdir(parents=True)
    (theirs / "output" / "w").write_text("theirs")
    assert len(bench.sweep()) == 1
    assert (theirs / "output" / "w").read_text() == "theirs"
    own = AttemptName(bench.store.id, slug_of(bench.old), 1, 1).folder(bench.home)
    assert not own.exists()


def test_a_link_in_the_way_is_not_followed_and_the_run_stays(bench: Bench, tmp_path: Path) -> None:
    folder, elsewhere = bench.home / "runs" / slug_of(bench.old), tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    (said,) = bench.sweep()
    assert said.startswith(f"run {bench.old.id}: could not be deleted: ")
    assert "leads to" in said
    assert (elsewhere / "report.html").exists()
    assert bench.old.id in numbers(bench.store)


def test_a_place_that_is_not_offered_any_more_is_told_and_holds_up_no_other_run(
    bench: Bench,
) -> None:
    with _At(bench.clock, 60):
        other = bench.store.refuse_run(RunKey("hpo", "x"), "wrong", triggered_by="eve")
        bench.store.refuse_run(RunKey("hpo", "y"), "wrong", triggered_by="eve")
    bench.installation = replace(bench.installation, artifacts={})
    stays, goes = bench.sweep()
    assert stays.startswith(f"run {bench.old.id}: could not be deleted: artifacts: this install")
    assert goes.startswith(f"run {other.id} of")
    assert bench.files(bench.old)


def test_a_place_out_of_reach_ends_the_visit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(folder: Any) -> None:
        raise TransientError(f"{folder}: cannot be reached")

    monkeypatch.setattr(artifacts, "delete", unreachable)
    (said,) = bench.sweep()
    assert said.startswith("retention: ")
    assert bench.old.id in numbers(bench.store)


def test_a_wrong_rule_is_told_and_deletes_nothing(bench: Bench) -> None:
    def wrong() -> Retention:
        raise TransientError("config/deployment.yaml: retention_days: must be a whole number")

    bench.installation = replace(bench.installation, retention=wrong)
    (said,) = bench.sweep()
    assert said == "retention: config/deployment.yaml: retention_days: must be a whole number"
    assert bench.old.id in numbers(bench.store)
