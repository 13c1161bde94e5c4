"""What every store does, whatever database is under it: inherit and supply `empty_url`."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import signal
import string
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Inspector, create_engine, event, inspect, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from hpo_lib.core.trial import (
    Assignment,
    Cause,
    Decision,
    History,
    Observation,
    Origin,
    Params,
    Trial,
    TrialState,
)
from hpo_lib.errors import AlreadyFinished, NotFound, SpecError, StoreError, TransientError
from hpo_lib.records import (
    Advice,
    Attempt,
    AttemptState,
    Outcome,
    Provenance,
    Run,
    RunKey,
    RunStatus,
    Told,
)
from hpo_lib.spec import Spec, load
from hpo_lib.store import Store, database, revision, upgrade
from hpo_lib.store.batches import Batch
from hpo_lib.store.schema import metadata, runs

KEY = RunKey("hpo_local", "manual__2031-05-06T07:08:09+00:00")
SPEC = load(
    {
        "name": "iris",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"lr": {"type": "float", "low": 0.001, "high": 1.0, "scale": "log"}},
        "trial": {"command": ["python", "train.py"]},
    }
)
TWO = load(
    SPEC.dump()
    | {
        "objective": [
            {"metric": "loss", "direction": "minimize"},
            {"metric": "size", "direction": "minimize"},
        ],
        "constraints": ["gap <= 1"],
    }
)
ADVICE = Advice(
    (Told(3, "iris", 1 / 3, (Trial(2, {"lr": 0.1}, TrialState.COMPLETE, 1 / 7),)),),
    ("run 2: not used, none of its trials is complete",),
)
START = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
_JOIN_TIMEOUT_S = 60
#: A contract's test is run by each of its heirs; an example brings its own run to the store.
INHERITED = (HealthCheck.differing_executors, HealthCheck.function_scoped_fixture)


@dataclass(frozen=True)
class Answer:
    """What an engine answers."""

    assignments: tuple[Assignment, ...] = ()
    stop: Decision | None = None
    decisions: Mapping[int, Decision] = field(default_factory=dict)


@dataclass
class Clock:
    """A clock that moves when it is told to."""

    time: datetime = START

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class OnAClock:
    """A contract whose store goes by a clock of the test's."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def store(self, url: str, clock: Clock) -> Iterator[Store]:
        upgrade(url)
        with Store.open(url, now=clock) as opened:
            yield opened


@dataclass
class Engineer:
    """Answers with the next `count` trial numbers and counts how often it was asked."""

    count: int = 1
    asked: list[History] = field(default_factory=list)

    def __call__(self, history: History) -> Answer:
        self.asked.append(history)
        first = len(history.trials)
        return Answer(tuple(assignment(first + offset) for offset in range(self.count)))


def assignment(number: int, **changes: Any) -> Assignment:
    return replace(Assignment(number, {"lr": (number + 1) / 1024}), **changes)


def succeeded(value: float | None = 0.5, **changes: Any) -> Outcome:
    return replace(Outcome(AttemptState.SUCCEEDED, "done", value, exit_code=0), **changes)


def failed(cause: Cause | None = Cause.USER_ERROR, **changes: Any) -> Outcome:
    return replace(Outcome(AttemptState.FAILED, "exit code 1", cause=cause, exit_code=1), **changes)


def handle_for(number: int) -> Mapping[str, Any]:
    return {"name": f"attempt-{number}"}


def begin(store: Store, key: RunKey = KEY, spec: Spec = SPEC) -> Run:
    return store.start_run(
        key, spec, triggered_by="ada", provenance=Provenance(versions={"commit": "c0ffee"})
    )


def attempt_of(store: Store, run: Run, number: int = 0) -> Attempt:
    return store.open_attempt(run.id, number, handle_for)


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Let forked processes do the work at the same moment; their results in any order."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(count), context.SimpleQueue()

    def child(index: int) -> None:
        try:
            barrier.wait(_JOIN_TIMEOUT_S)
            results.put(work(index))
        except BaseException as error:
            results.put(error)

    children = [context.Process(target=child, args=(index,)) for index in range(count)]
    for process in children:
        process.start()
    found = [results.get() for _ in children]
    for process in children:
        process.join(_JOIN_TIMEOUT_S)
    problems = [result for result in found if isinstance(result, BaseException)]
    assert not problems
    return found


def killed_at(statement: str, url: str, work: Callable[[Store], Any]) -> None:
    """Do the work in a process that gets SIGKILL right after a statement, before its commit."""
    context = multiprocessing.get_context("fork")
    reached = context.Event()

    def pause(_c: Any, _cursor: Any, said: str, *_: Any) -> None:
        if said.startswith(statement):
            reached.set()
            time.sleep(_JOIN_TIMEOUT_S)

    def child() -> None:
        event.listen(Engine, "after_cursor_execute", pause)
        with Store.open(url) as store:
            work(store)

    process = context.Process(target=child)
    process.start()
    try:
        assert reached.wait(_JOIN_TIMEOUT_S)
    finally:
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(_JOIN_TIMEOUT_S)
    assert process.exitcode == -signal.SIGKILL


def raw(url: str) -> Engine:
    """Open the database behind the store's back."""
    return create_engine(database.address(url), poolclass=NullPool)


def execute(url: str, statement: str) -> None:
    with raw(url).begin() as connection:
        connection.execute(text(statement))


def described(url: str) -> dict[str, str]:
    """Give all that a database says about the tables of the store, by table."""
    inspector = inspect(raw(url))
    ask = (
        inspector.get_columns,
        inspector.get_pk_constraint,
        inspector.get_foreign_keys,
        inspector.get_unique_constraints,
        inspector.get_check_constraints,
        partial(_indexes, inspector),
    )
    return {
        table.name: "\n".join(str(question(table.name)) for question in ask)
        for table in metadata.sorted_tables
    }


def _indexes(inspector: Inspector, table: str) -> list[dict[str, Any]]:
    return [
        {**index, "dialect_options": _in_words(index.get("dialect_options", {}))}
        for index in inspector.get_indexes(table)
    ]


def _in_words(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items()}


def exact(values: Mapping[str, Any]) -> dict[str, str]:
    """Write values so that equal means of the same type and to the last bit, NaN included."""
    return {name: repr(value) for name, value in values.items()}


def comparable(seen: Observation) -> tuple[Any, ...]:
    """Make NaN equal to itself; zero may lose its sign."""
    return (seen.metric, repr(seen.value + 0.0), seen.step, seen.time)


numbers = st.floats(allow_nan=False, allow_infinity=False)
any_floats = st.floats()
params = st.dictionaries(
    st.text(string.ascii_letters, min_size=1),
    st.text() | st.booleans() | numbers | st.integers(-(2**53), 2**53),
    max_size=4,
)
series = st.lists(
    st.builds(
        Observation,
        st.sampled_from(["loss", "val/acc", "größe"]),
        any_floats,
        st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
        st.none() | numbers,
    ),
    max_size=8,
)


class SchemaContract:
    """The tables: how they come, how they change, and what is said when they do not fit."""

    def test_a_new_store_has_no_revision_until_it_is_upgraded(self, empty_url: str) -> None:
        assert revision(empty_url) is None
        assert upgrade(empty_url) == database.HEAD
        assert revision(empty_url) == database.HEAD

    def test_the_newest_migration_is_the_revision_that_the_code_needs(self, url: str) -> None:
        with raw(url).connect() as connection:
            scripts = ScriptDirectory.from_config(database.configuration(connection))
        assert scripts.get_heads() == [database.HEAD]

    def test_upgrading_twice_keeps_what_is_there(self, url: str, store: Store) -> None:
        run = begin(store)
        assert upgrade(url) == database.HEAD
        assert store.run(KEY) == run

    def test_concurrent_upgrades_all_succeed(self, empty_url: str) -> None:
        assert together(4, lambda _: upgrade(empty_url)) == [database.HEAD] * 4
        Store.open(empty_url).close()

    def test_the_migrated_schema_is_the_one_in_tables(self, url: str) -> None:
        options = {"version_table": database.VERSION_TABLE, "compare_type": True}
        with raw(url).connect() as connection:
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, metadata) == []

    def test_the_migrated_schema_is_told_by_the_database_as_the_one_in_tables(
        self, url: str
    ) -> None:
        """Indexes with a condition, checks and keys: alembic compares none of them."""
        migrated = described(url)
        with raw(url).begin() as connection:
            command.downgrade(database.configuration(connection), "base")
            metadata.create_all(connection)
        assert described(url) == migrated

    def test_down_to_nothing_and_up_again_works(self, url: str) -> None:
        with raw(url).begin() as connection:
            command.downgrade(database.configuration(connection), "base")
        assert inspect(raw(url)).get_table_names() == [database.VERSION_TABLE]
        assert revision(url) is None
        assert upgrade(url) == database.HEAD
        Store.open(url).close()

    def test_opening_without_tables_names_the_command_and_makes_nothing(
        self, empty_url: str
    ) -> None:
        with pytest.raises(
            StoreError, match=rf"no tables yet.* {database.HEAD} .*`hpo store upgrade`"
        ):
            Store.open(empty_url)
        assert revision(empty_url) is None

    def test_opening_an_older_schema_names_both_revisions_and_the_command(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = database.HEAD
        monkeypatch.setattr(database, "HEAD", "0099")
        with pytest.raises(StoreError, match=rf"at revision {found}, 0099 .*`hpo store upgrade`"):
            Store.open(url)

    def test_a_schema_of_a_newer_version_is_left_alone(self, url: str) -> None:
        execute(url, f"UPDATE {database.VERSION_TABLE} SET version_num = '9999'")
        for use in (Store.open, upgrade):
            with pytest.raises(StoreError, match=rf"9999.*needs {database.HEAD}.*newer version"):
                use(url)
        assert revision(url) == "9999"

    def test_runs_from_before_there_was_advice_have_none(self, url: str, store: Store) -> None:
        run = begin(store)
        with raw(url).begin() as connection:
            command.downgrade(database.configuration(connection), "0002")
        assert upgrade(url) == database.HEAD
        assert store.run(KEY) == run
        assert (run.advice, store.history(run.id).earlier) == (Advice(), ())

    def test_tables_of_another_application_stay(self, empty_url: str) -> None:
        execute(empty_url, "CREATE TABLE alembic_version (version_num VARCHAR(32))")
        execute(empty_url, "INSERT INTO alembic_version VALUES ('someone-elses')")
        assert upgrade(empty_url) == database.HEAD
        with raw(empty_url).connect() as connection:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars()
            assert found.all() == ["someone-elses"]


class RunContract:
    """Runs: begun, refused and ended once."""

    def test_a_started_run_is_given_back_as_it_was_written(self, store: Store) -> None:
        run = begin(store)
        assert run == Run(
            id=run.id,
            key=KEY,
            experiment="iris",
            status=RunStatus.RUNNING,
            document=SPEC.dump(),
            reason=None,
            triggered_by="ada",
            provenance=Provenance(versions={"commit": "c0ffee"}),
            started_at=START,
        )
        assert run.spec == SPEC
        assert store.run(KEY) == store.run_by_id(run.id) == run

    def test_starting_again_changes_nothing_even_with_another_spec(
        self, store: Store, clock: Clock
    ) -> None:
        run = begin(store)
        clock.advance(60)
        other = load({**SPEC.dump(), "name": "other"})
        assert store.start_run(KEY, other, triggered_by="bob", provenance=Provenance()) == run
        assert store.runs() == [run]

    def test_what_advises_a_run_is_settled_when_it_begins(self, store: Store) -> None:
        known = {"triggered_by": "ada", "provenance": Provenance()}
        store.refuse_run(KEY, "wrong", triggered_by="ada")
        run = store.start_run(KEY, SPEC, **known, advice=ADVICE)
        assert run.advice == ADVICE
        again = store.start_run(KEY, SPEC, **known, advice=Advice((), ("other",)))
        assert again == store.run(KEY) == store.view(run.id).run == run
        engineer = Engineer()
        store.next_batch(run.id, "wave-01", engineer)
        for history in (*engineer.asked, store.history(run.id)):
            assert history.earlier == ADVICE.earlier

    def test_the_past_is_what_is_complete_the_newest_first(
        self, store: Store, clock: Clock
    ) -> None:
        ids = []
        for name, status in (
            *(("iris", RunStatus.COMPLETE), ("iris", RunStatus.FAILED)),
            *(("rose", RunStatus.COMPLETE), ("lily", RunStatus.COMPLETE), ("iris", None)),
        ):
            spec = SPEC.model_copy(update={"name": name})
            run = begin(store, RunKey("hpo_local", str(len(ids))), spec)
            store.next_batch(run.id, "wave-01", Engineer(2))
            attempt = attempt_of(store, run)
            clock.advance(5)
            store.close_attempt(attempt.id, succeeded(), final=True)
            clock.advance(55)
            if status:
                store.finish_run(run.id, status, "done")
            ids.append(run.id)
        clock.advance(60)
        found = store.past(["iris", "rose"], 5)
        assert [one.run for one in found] == [store.run_by_id(ids[n]) for n in (2, 0)]
        assert [one.age_s for one in found] == [180.0, 300.0]
        values = [[trial.value for trial in one.trials] for one in found]
        assert values == [[0.5, None], [0.5, None]]
        lasted = [[trial.duration_s for trial in one.trials] for one in found]
        assert lasted == [[5.0, None], [5.0, None]]
        assert [one.run.id for one in store.past(["iris", "rose"], 1)] == [ids[2]]
        assert store.past(["none"], 5) == []

    def test_concurrent_starts_make_one_run(self, store: Store) -> None:
        ids = together(6, lambda _: begin(store).id)
        assert len(set(ids)) == 1
        assert len(store.runs()) == 1

    def test_a_refusal_keeps_the_reason_and_no_spec(self, store: Store) -> None:
        run = store.refuse_run(KEY, "space.lr: low must be < high", triggered_by="ada")
        assert (run.status, run.reason) == (RunStatus.REFUSED, "space.lr: low must be < high")
        assert (run.document, run.experiment, run.ended_at) == ({}, "", START)
        assert store.run(KEY) == run

    def test_the_last_refusal_counts(self, store: Store) -> None:
        first = store.refuse_run(KEY, "first", triggered_by="ada")
        again = store.refuse_run(KEY, "second", triggered_by="bob")
        assert (again.id, again.reason, again.triggered_by) == (first.id, "second", "bob")

    def test_a_spec_that_is_refused_today_breaks_its_own_run_only(
        self, url: str, store: Store
    ) -> None:
        old, new = begin(store), begin(store, RunKey("hpo_local", "2"))
        retired = SPEC.dump() | {"mode": "of an older version"}
        with raw(url).begin() as connection:
            changed = update(runs).where(runs.c.id == old.id).values(spec=retired)
            connection.execute(changed)
        listed = store.runs()
        assert [run.id for run in listed] == [new.id, old.id]
        assert [run.id for run in store.running()] == [old.id, new.id]
        assert listed[0].spec == SPEC
        with pytest.raises(SpecError, match="mode: must be waves"):
            _ = listed[1].spec
        assert store.view(old.id).goal == SPEC.goal
        assert store.finish_run(old.id, RunStatus.FAILED, "it is too old").document == retired

    def test_a_refused_run_can_be_started(self, store: Store, clock: Clock) -> None:
        refused = store.refuse_run(KEY, "wrong", triggered_by="ada")
        clock.advance(60)
        run = begin(store)
        assert (run.id, run.status, run.reason) == (refused.id, RunStatus.RUNNING, None)
        assert (run.document, run.ended_at) == (SPEC.dump(), None)
        assert run.started_at == START + timedelta(seconds=60)

    def test_a_started_run_cannot_be_refused(self, store: Store) -> None:
        run = begin(store)
        assert store.refuse_run(KEY, "too late", triggered_by="bob") == run

    def test_the_first_end_of_a_run_stays(self, store: Store, clock: Clock) -> None:
        run = begin(store)
        clock.advance(5)
        done = store.finish_run(run.id, RunStatus.COMPLETE, "all 20 trials are done")
        assert (done.status, done.reason) == (RunStatus.COMPLETE, "all 20 trials are done")
        assert done.ended_at == START + timedelta(seconds=5)
        clock.advance(5)
        assert store.finish_run(run.id, RunStatus.FAILED, "no") == done
        assert begin(store) == done

    def test_a_refused_run_stays_refused_when_it_is_finished(self, store: Store) -> None:
        run = store.refuse_run(KEY, "wrong", triggered_by="ada")
        assert store.finish_run(run.id, RunStatus.COMPLETE, "fine") == run

    @pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.REFUSED])
    def test_a_run_ends_complete_or_failed(self, store: Store, status: RunStatus) -> None:
        run = begin(store)
        with pytest.raises(ValueError, match=f"complete or failed, got {status}"):
            store.finish_run(run.id, status, "no")

    def test_runs_are_listed_newest_first(self, store: Store) -> None:
        ids = [begin(store, RunKey("hpo_local", str(index))).id for index in range(4)]
        assert [run.id for run in store.runs(limit=3)] == ids[:0:-1]

    def test_what_is_not_there_is_named(self, store: Store) -> None:
        run = begin(store)
        cases: list[tuple[str, Callable[[], object]]] = [
            ("no run of DAG 'a' named 'b'", lambda: store.run(RunKey("a", "b"))),
            ("no run 77", lambda: store.run_by_id(77)),
            ("no run 77", lambda: store.history(77)),
            ("no run 77", lambda: store.view(77)),
            ("no run 77", lambda: store.next_batch(77, "s", Engineer())),
            ("no run 77", lambda: store.finish_run(77, RunStatus.FAILED, "")),
            (f"run {run.id} has no trial 5", lambda: store.trial(run.id, 5)),
            (f"run {run.id} has no trial 5", lambda: store.attempts(run.id, 5)),
            (f"run {run.id} has no trial 5", lambda: attempt_of(store, run, 5)),
            (f"run {run.id} has no trial 5", lambda: store.fail_trial(run.id, 5, Cause.LOST, "")),
            ("no attempt 77", lambda: store.close_attempt(77, succeeded(), final=True)),
        ]
        for message, call in cases:
            with pytest.raises(NotFound, match=message):
                call()


class LeaseContract:
    """Leases: a slot is answered once."""

    def test_asking_again_gives_the_same_answer_without_asking_the_engine(
        self, store: Store, run: Run
    ) -> None:
        engineer = Engineer(2)
        first = store.next_batch(run.id, "wave-01", engineer)
        assert first == Batch((assignment(0), assignment(1)))
        assert store.next_batch(run.id, "wave-01", engineer) == first
        assert store.batch_of(run.id, "wave-01") == first
        assert len(engineer.asked) == 1

    def test_a_slot_that_never_asked_has_no_answer(self, store: Store, run: Run) -> None:
        assert store.batch_of(run.id, "wave-01") is None
        assert store.stop_of(run.id) is None

    def test_the_next_slot_sees_the_trials_of_the_ones_before(self, store: Store, run: Run) -> None:
        engineer = Engineer(2)
        store.next_batch(run.id, "wave-01", engineer)
        assert store.next_batch(run.id, "wave-02", engineer).assignments[0].trial == 2
        assert engineer.asked[0] == History()
        assert [trial.number for trial in engineer.asked[1].trials] == [0, 1]
        slots = [view.slot for view in store.view(run.id).trials]
        assert slots == ["wave-01", "wave-01", "wave-02", "wave-02"]

    def test_everything_about_an_assignment_is_kept(self, store: Store, run: Run) -> None:
        first = assignment(0, origin=Origin.INITIAL, resource=2.5, resume_from=7, partial=True)
        assert store.next_batch(run.id, "a", lambda _: Answer((first,))).assignments == (first,)
        store.close_attempt(attempt_of(store, run).id, succeeded(), final=True)
        resumed = replace(first, resource=9.0, partial=False, reason="it leads")
        assert store.next_batch(run.id, "b", lambda _: Answer((resumed,))).assignments == (resumed,)
        assert store.batch_of(run.id, "a") == Batch((first,))
        assert len(store.history(run.id).trials) == 1

    def test_a_stop_is_kept_with_its_reason(self, store: Store, run: Run) -> None:
        stop = Decision.stop("4 failed trials, 3 are tolerated", failed=True)
        assert store.next_batch(run.id, "wave-02", lambda _: Answer(stop=stop)) == Batch(stop=stop)
        assert store.next_batch(run.id, "wave-02", Engineer()) == Batch(stop=stop)
        assert store.stop_of(run.id) == stop
        later = Decision.stop("patience")
        store.next_batch(run.id, "wave-01", lambda _: Answer(stop=later))
        assert store.stop_of(run.id) == stop

    def test_a_stop_may_come_with_assignments(self, store: Store, run: Run) -> None:
        answer = Batch((assignment(0),), Decision.stop("last one"))
        give = Answer((assignment(0),), answer.stop)
        assert store.next_batch(run.id, "wave-01", lambda _: give) == answer
        assert store.batch_of(run.id, "wave-01") == answer

    def test_an_empty_answer_is_an_answer(self, store: Store, run: Run) -> None:
        assert store.next_batch(run.id, "wave-01", lambda _: Answer()) == Batch()
        assert store.next_batch(run.id, "wave-01", Engineer()) == Batch()

    def test_an_engine_that_raises_leaves_nothing_behind(self, store: Store, run: Run) -> None:
        def broken(_: History) -> Answer:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.next_batch(run.id, "wave-01", broken)
        assert store.next_batch(run.id, "wave-01", Engineer()) == Batch((assignment(0),))

    def test_an_answer_with_a_known_configuration_is_not_kept(self, store: Store, run: Run) -> None:
        store.next_batch(run.id, "wave-01", Engineer())
        repeated = Answer((assignment(1), assignment(2, params=assignment(0).params)))
        with pytest.raises(StoreError, match=r"(?i)unique"):
            store.next_batch(run.id, "wave-02", lambda _: repeated)
        assert len(store.history(run.id).trials) == 1
        assert store.batch_of(run.id, "wave-02") is None

    def test_a_run_that_has_ended_leases_nothing_new(self, store: Store, run: Run) -> None:
        known = store.next_batch(run.id, "wave-01", Engineer())
        store.finish_run(run.id, RunStatus.FAILED, "cancelled by ada")
        assert store.next_batch(run.id, "wave-01", Engineer()) == known
        late = store.next_batch(run.id, "wave-02", Engineer())
        assert late == Batch(stop=Decision.stop("the run is failed: cancelled by ada", failed=True))
        assert len(store.history(run.id).trials) == 1

    def test_runs_do_not_share_slots(self, store: Store, run: Run) -> None:
        other = begin(store, RunKey("hpo_local", "other"))
        store.next_batch(run.id, "wave-01", Engineer(2))
        assert len(store.next_batch(other.id, "wave-01", Engineer(1)).assignments) == 1

    def test_processes_that_ask_at_once_get_one_answer(self, store: Store, run: Run) -> None:
        def ask(_: int) -> tuple[Batch, int]:
            engineer = Engineer(3)
            return store.next_batch(run.id, "wave-01", engineer), len(engineer.asked)

        found = together(8, ask)
        assert all(lease == found[0][0] for lease, _ in found)
        assert sum(asked for _, asked in found) >= 1
        assert len(store.history(run.id).trials) == 3

    def test_slots_that_ask_at_once_take_turns(self, store: Store, run: Run) -> None:
        leases = together(6, lambda index: store.next_batch(run.id, f"slot-{index}", Engineer(2)))
        given = sorted(item.trial for lease in leases for item in lease.assignments)
        assert given == list(range(12))

    def test_whoever_waits_too_long_is_told_to_try_again(
        self, url: str, store: Store, run: Run
    ) -> None:
        with Store.open(url, lock_timeout_s=0.1) as hurried, raw(url).begin() as writer:
            writer.execute(update(runs).values(reason="somebody writes"))
            for write in (
                lambda: hurried.finish_run(run.id, RunStatus.FAILED, "no"),
                lambda: hurried.next_batch(run.id, "wave-01", Engineer()),
            ):
                with pytest.raises(TransientError, match="try again"):
                    write()
            assert hurried.history(run.id).trials == ()
            assert hurried.run(KEY).status is RunStatus.RUNNING

    def test_others_write_while_an_engine_thinks(self, url: str, store: Store, run: Run) -> None:
        store.next_batch(run.id, "wave-01", Engineer(2))
        with Store.open(url, lock_timeout_s=0.1) as hurried:

            def ask(history: History) -> Answer:
                other = begin(hurried, RunKey("hpo_local", "other"))
                assert len(hurried.next_batch(other.id, "wave-01", Engineer()).assignments) == 1
                hurried.close_attempt(attempt_of(hurried, run).id, succeeded(), final=True)
                return Engineer()(history)

            assert store.next_batch(run.id, "wave-02", ask) == Batch((assignment(2),))
        assert store.trial(run.id, 0).state is TrialState.COMPLETE

    def test_of_two_that_ask_for_a_slot_the_first_answer_is_kept(
        self, store: Store, run: Run
    ) -> None:
        def ask(_: History) -> Answer:
            store.next_batch(run.id, "wave-01", Engineer(3))
            return Answer((assignment(0), assignment(1)))

        assert len(store.next_batch(run.id, "wave-01", ask).assignments) == 3
        assert len(store.history(run.id).trials) == 3

    def test_an_engine_is_asked_again_once_another_slot_was_answered(
        self, store: Store, run: Run
    ) -> None:
        engineer = Engineer()

        def ask(history: History) -> Answer:
            store.next_batch(run.id, "wave-02", Engineer())
            return engineer(history)

        assert store.next_batch(run.id, "wave-01", ask) == Batch((assignment(1),))
        assert [len(history.trials) for history in engineer.asked] == [0, 1]

    def test_a_run_that_ends_while_an_engine_thinks_leases_nothing_new(
        self, store: Store, run: Run
    ) -> None:
        def ask(_: History) -> Answer:
            store.finish_run(run.id, RunStatus.FAILED, "cancelled by ada")
            return Answer((assignment(0),))

        late = store.next_batch(run.id, "wave-01", ask)
        assert late == Batch(stop=Decision.stop("the run is failed: cancelled by ada", failed=True))
        assert store.history(run.id).trials == ()

    def test_a_stop_settles_every_slot_that_has_no_answer(self, store: Store, run: Run) -> None:
        stop = Decision.stop("patience")
        store.next_batch(run.id, "wave-01", Engineer())
        assert store.settled_batch(run.id, "wave-02") is None
        store.next_batch(run.id, "wave-02", lambda _: Answer(stop=stop))
        assert store.settled_batch(run.id, "wave-01") == Batch((assignment(0),))
        assert store.settled_batch(run.id, "wave-03") == Batch(stop=stop)

    def test_a_killed_asker_leaves_nothing_behind(self, url: str, store: Store, run: Run) -> None:
        killed_at("INSERT INTO leases", url, lambda own: own.next_batch(run.id, "w", Engineer(3)))
        assert store.history(run.id).trials == ()
        assert store.batch_of(run.id, "w") is None
        assert store.next_batch(run.id, "w", Engineer()) == Batch((assignment(0),))


class TrialContract:
    """Trials and attempts: the first writer wins, and only an outcome completes a trial."""

    def test_a_new_attempt_has_its_number_and_handle(
        self, store: Store, trial: Run, clock: Clock
    ) -> None:
        clock.advance(1)
        attempt = attempt_of(store, trial)
        assert attempt == Attempt(
            id=attempt.id,
            run_id=trial.id,
            trial=0,
            number=1,
            handle={"name": "attempt-1"},
            state=AttemptState.RUNNING,
            started_at=clock.time,
        )
        assert store.attempts(trial.id, 0) == [attempt]

    def test_a_live_attempt_is_taken_over(self, store: Store, trial: Run) -> None:
        attempt = attempt_of(store, trial)
        assert store.open_attempt(trial.id, 0, lambda _: {"name": "other"}) == attempt

    def test_processes_that_open_at_once_share_one_attempt(self, store: Store, trial: Run) -> None:
        ids = together(6, lambda _: attempt_of(store, trial).id)
        assert len(set(ids)) == 1
        assert len(store.attempts(trial.id, 0)) == 1

    def test_the_database_itself_refuses_a_second_live_attempt(
        self, url: str, store: Store, trial: Run
    ) -> None:
        attempt_of(store, trial)
        copy = (
            "INSERT INTO attempts (run_id, trial, number, handle, state, started_at, log_tail) "
            "SELECT run_id, trial, 2, handle, state, started_at, log_tail FROM attempts"
        )
        with pytest.raises(IntegrityError):
            execute(url, copy)

    def test_a_failing_handle_leaves_no_attempt(self, store: Store, trial: Run) -> None:
        def broken(_: int) -> Mapping[str, Any]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.open_attempt(trial.id, 0, broken)
        assert store.attempts(trial.id, 0) == []

    def test_a_final_success_completes_the_trial(
        self, store: Store, trial: Run, clock: Clock
    ) -> None:
        attempt = attempt_of(store, trial)
        clock.advance(2.5)
        seen = (Observation("loss", 0.7, 1, 5.0), Observation("loss", 0.5, 2))
        outcome = succeeded(metrics={"loss": 0.5}, observations=seen, log_tail="bye\n")
        done = store.close_attempt(attempt.id, outcome, final=True)
        assert (done.state, done.value, done.reason) == (TrialState.COMPLETE, 0.5, "done")
        assert (done.metrics, done.duration_s, done.cause) == ({"loss": 0.5}, 2.5, None)
        assert store.trial(trial.id, 0) == done
        ended = store.attempts(trial.id, 0)[0]
        assert ended == replace(
            attempt,
            state=AttemptState.SUCCEEDED,
            reason="done",
            exit_code=0,
            ended_at=clock.time,
            log_tail="bye\n",
        )
        view = store.view(trial.id).trials[0]
        assert (view.trial, view.slot, view.attempts) == (done, "wave-01", [ended])
        assert view.observations == list(seen)

    def test_a_final_failure_fails_the_trial(self, store: Store, trial: Run) -> None:
        attempt = attempt_of(store, trial)
        outcome = failed(Cause.OUT_OF_MEMORY, reason="used 3 GiB", exit_code=-9)
        done = store.close_attempt(attempt.id, outcome, final=True)
        assert (done.state, done.cause) == (TrialState.FAILED, Cause.OUT_OF_MEMORY)
        assert (done.reason, done.value) == ("used 3 GiB", None)
        assert store.attempts(trial.id, 0)[0].exit_code == -9

    def test_an_end_that_is_not_final_leads_to_the_next_attempt(
        self, store: Store, trial: Run, clock: Clock
    ) -> None:
        first = attempt_of(store, trial)
        clock.advance(2)
        lost = store.close_attempt(first.id, failed(Cause.LOST), final=False)
        assert (lost.state, lost.cause, lost.duration_s) == (TrialState.RUNNING, None, 2.0)
        clock.advance(10)
        second = attempt_of(store, trial)
        assert (second.number, second.handle) == (2, {"name": "attempt-2"})
        clock.advance(3)
        assert store.close_attempt(second.id, succeeded(), final=True).duration_s == 5.0
        assert store.view(trial.id).trials[0].trial.duration_s == 5.0
        assert store.history(trial.id).trials[0].duration_s == 5.0

    def test_an_attempt_that_has_ended_cannot_end_again(self, store: Store, trial: Run) -> None:
        first = attempt_of(store, trial)
        store.close_attempt(first.id, failed(Cause.LOST), final=False)
        second = attempt_of(store, trial)
        late = succeeded(0.1, observations=[Observation("loss", 0.1)])
        assert store.close_attempt(first.id, late, final=True).state is TrialState.RUNNING
        done = store.close_attempt(second.id, succeeded(0.2), final=True)
        assert done.value == 0.2
        assert store.close_attempt(second.id, succeeded(0.3), final=True) == done
        assert store.close_attempt(second.id, failed(), final=True) == done
        assert [one.state for one in store.attempts(trial.id, 0)] == ["failed", "succeeded"]
        assert store.view(trial.id).trials[0].observations == []

    def test_an_attempt_that_is_not_the_newest_cannot_end_its_trial(
        self, url: str, store: Store, trial: Run
    ) -> None:
        first = attempt_of(store, trial)
        store.close_attempt(first.id, failed(Cause.LOST), final=False)
        second = attempt_of(store, trial)
        store.close_attempt(second.id, failed(Cause.LOST), final=False)
        execute(url, "UPDATE attempts SET state = 'running' WHERE number = 1")
        assert store.close_attempt(first.id, succeeded(), final=True).state is TrialState.RUNNING

    def test_of_processes_that_close_at_once_one_wins(self, store: Store, trial: Run) -> None:
        attempt = attempt_of(store, trial)

        def close(index: int) -> float | None:
            seen = [Observation("loss", float(index), step) for step in range(20)]
            outcome = succeeded(float(index), observations=seen)
            return store.close_attempt(attempt.id, outcome, final=True).value

        values = set(together(6, close))
        assert len(values) == 1
        view = store.view(trial.id).trials[0]
        assert {seen.value for seen in view.observations} == values == {view.trial.value}
        assert len(view.observations) == 20

    @pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
    def test_a_trial_is_not_complete_without_a_finite_value(
        self, store: Store, trial: Run, value: float | None
    ) -> None:
        attempt = attempt_of(store, trial)
        with pytest.raises(ValueError, match=f"must be finite, got {value}"):
            store.close_attempt(attempt.id, succeeded(value), final=True)
        assert store.attempts(trial.id, 0) == [attempt]

    def test_a_failure_needs_a_cause_and_an_end_is_no_running(
        self, store: Store, trial: Run
    ) -> None:
        attempt = attempt_of(store, trial)
        with pytest.raises(ValueError, match="must have a cause"):
            store.close_attempt(attempt.id, failed(None), final=True)
        with pytest.raises(ValueError, match="got running"):
            store.close_attempt(attempt.id, failed(state=AttemptState.RUNNING), final=False)
        assert store.attempts(trial.id, 0) == [attempt]

    def test_the_database_itself_refuses_a_complete_trial_without_value(
        self, url: str, trial: Run
    ) -> None:
        with pytest.raises(IntegrityError):
            execute(url, "UPDATE trials SET state = 'complete'")

    def test_a_finished_trial_gets_no_attempt(self, store: Store, trial: Run) -> None:
        store.close_attempt(attempt_of(store, trial).id, succeeded(), final=True)
        with pytest.raises(AlreadyFinished, match="trial 0 is complete: done"):
            attempt_of(store, trial)

    def test_a_finished_run_gets_no_new_attempt_but_gives_the_live_one(
        self, store: Store, trial: Run
    ) -> None:
        live = attempt_of(store, trial)
        store.finish_run(trial.id, RunStatus.FAILED, "cancelled")
        assert attempt_of(store, trial) == live
        store.close_attempt(live.id, failed(Cause.LOST), final=False)
        with pytest.raises(AlreadyFinished, match="the run is failed: cancelled"):
            attempt_of(store, trial)

    def test_failing_a_trial_ends_its_live_attempt_once(
        self, store: Store, trial: Run, clock: Clock
    ) -> None:
        attempt_of(store, trial)
        clock.advance(4)
        done = store.fail_trial(trial.id, 0, Cause.KILLED_BY_OPERATOR, "marked failed by ada")
        assert (done.state, done.cause) == (TrialState.FAILED, Cause.KILLED_BY_OPERATOR)
        assert (done.reason, done.duration_s) == ("marked failed by ada", 4.0)
        ended = store.attempts(trial.id, 0)[0]
        assert (ended.state, ended.cause, ended.ended_at) == (
            AttemptState.FAILED,
            Cause.KILLED_BY_OPERATOR,
            clock.time,
        )
        assert store.fail_trial(trial.id, 0, Cause.LOST, "again") == done
        assert store.close_attempt(ended.id, succeeded(), final=True) == done

    def test_a_trial_that_never_started_can_be_failed(self, store: Store, trial: Run) -> None:
        done = store.fail_trial(trial.id, 0, Cause.LOST, "never started")
        assert (done.state, done.duration_s) == (TrialState.FAILED, None)
        assert store.attempts(trial.id, 0) == []

    def test_a_trial_that_never_began_can_be_stopped(self, store: Store, trial: Run) -> None:
        done = store.stop_trial(trial.id, 0, "not begun: failure budget spent")
        assert (done.state, done.cause, done.value) == (TrialState.STOPPED, None, None)
        assert (done.reason, done.duration_s) == ("not begun: failure budget spent", None)
        assert store.attempts(trial.id, 0) == []
        assert store.history(trial.id).trials[0] == done
        with pytest.raises(AlreadyFinished, match="trial 0 is stopped: not begun"):
            attempt_of(store, trial)
        assert store.fail_trial(trial.id, 0, Cause.LOST, "late") == done

    def test_a_complete_trial_cannot_be_failed(self, store: Store, trial: Run) -> None:
        done = store.close_attempt(attempt_of(store, trial).id, succeeded(), final=True)
        assert store.fail_trial(trial.id, 0, Cause.LOST, "late") == done

    @pytest.mark.parametrize(
        "statement", ["UPDATE attempts", "INSERT INTO observations", "UPDATE trials"]
    )
    def test_a_killed_closer_leaves_the_attempt_live(
        self, url: str, store: Store, trial: Run, statement: str
    ) -> None:
        attempt = attempt_of(store, trial)
        outcome = succeeded(observations=[Observation("loss", 0.5)] * 3)
        killed_at(statement, url, lambda own: own.close_attempt(attempt.id, outcome, final=True))
        assert store.attempts(trial.id, 0) == [attempt]
        assert store.trial(trial.id, 0).state is TrialState.RUNNING
        assert store.close_attempt(attempt.id, outcome, final=True).value == 0.5
        assert len(store.view(trial.id).trials[0].observations) == 3


CORRECTED = load(
    SPEC.dump() | {"metrics": {"collector": "stdout", "format": "(?P<name>.+): (?P<value>.+)"}}
)


class RecollectContract:
    """Metrics that were there and were not found: the one way from failed to complete."""

    @pytest.fixture
    def lost(self, store: Store, trial: Run, clock: Clock) -> Attempt:
        """End a trial without its objective; two seconds later is now."""
        attempt = attempt_of(store, trial)
        clock.advance(2)
        seen = [Observation("other", 1.0, 1), Observation("other", 2.0, 2)]
        nothing = failed(Cause.OBJECTIVE_MISSING, exit_code=0, observations=seen, log_tail="bye")
        store.close_attempt(attempt.id, nothing, final=True)
        clock.advance(2)
        return store.attempts(trial.id, 0)[0]

    def test_a_trial_becomes_complete_and_the_run_has_the_corrected_spec(
        self, store: Store, trial: Run, lost: Attempt
    ) -> None:
        seen = (Observation("loss", 0.5, 3),)
        outcome = succeeded(metrics={"loss": 0.5}, observations=seen)
        done = store.recollect(lost.id, outcome, CORRECTED)
        assert (done.state, done.value, done.cause) == (TrialState.COMPLETE, 0.5, None)
        assert (done.reason, done.metrics, done.duration_s) == ("done", {"loss": 0.5}, 2.0)
        view = store.view(trial.id).trials[0]
        assert (view.trial, view.observations) == (done, list(seen))
        changed = replace(lost, state=AttemptState.SUCCEEDED, cause=None, reason="done")
        assert view.attempts == [changed], "times, exit code and log stay"
        assert store.run_by_id(trial.id).document == CORRECTED.dump()

    def test_again_gives_the_same(self, store: Store, trial: Run, lost: Attempt) -> None:
        outcome = succeeded(observations=[Observation("loss", 0.5)] * 3)
        first = store.recollect(lost.id, outcome, CORRECTED)
        assert store.recollect(lost.id, outcome, CORRECTED) == first
        assert len(store.view(trial.id).trials[0].observations) == 3

    def test_a_complete_trial_can_be_read_again(self, store: Store, trial: Run) -> None:
        attempt = attempt_of(store, trial)
        store.close_attempt(attempt.id, succeeded(0.5), final=True)
        assert store.recollect(attempt.id, succeeded(0.25), CORRECTED).value == 0.25

    def test_a_running_trial_and_an_older_attempt_are_left_alone(
        self, store: Store, trial: Run
    ) -> None:
        first = attempt_of(store, trial)
        with pytest.raises(ValueError, match=r"trial 0 of run .* is still running"):
            store.recollect(first.id, succeeded(), SPEC)
        store.close_attempt(first.id, failed(Cause.LOST), final=False)
        second = attempt_of(store, trial)
        store.close_attempt(second.id, failed(Cause.OBJECTIVE_MISSING), final=True)
        with pytest.raises(ValueError, match="attempt 2 of trial 0 is newer"):
            store.recollect(first.id, succeeded(), SPEC)
        assert store.trial(trial.id, 0).state is TrialState.FAILED

    @pytest.mark.parametrize("outcome", [failed(), succeeded(None), succeeded(math.nan)])
    def test_only_a_success_with_a_value_can_be_collected(
        self, store: Store, trial: Run, lost: Attempt, outcome: Outcome
    ) -> None:
        before = store.view(trial.id)
        with pytest.raises(ValueError):
            store.recollect(lost.id, outcome, CORRECTED)
        assert store.view(trial.id) == before

    def test_nothing_but_metrics_can_be_corrected(
        self, store: Store, trial: Run, lost: Attempt
    ) -> None:
        other = load(SPEC.dump() | {"fixed": {"epochs": 3}})
        with pytest.raises(ValueError, match="with other metrics only"):
            store.recollect(lost.id, succeeded(), other)
        assert store.run_by_id(trial.id).document == SPEC.dump()

    def test_an_unknown_attempt_is_named(self, store: Store) -> None:
        with pytest.raises(NotFound, match="no attempt 4711"):
            store.recollect(4711, succeeded(), SPEC)

    @pytest.mark.parametrize(
        "statement", ["UPDATE attempts", "DELETE FROM observations", "UPDATE trials", "UPDATE runs"]
    )
    def test_killed_in_the_middle_it_has_changed_nothing(
        self, url: str, store: Store, trial: Run, lost: Attempt, statement: str
    ) -> None:
        before = store.view(trial.id)
        outcome = succeeded(observations=[Observation("loss", 0.5)] * 3)
        killed_at(statement, url, lambda own: own.recollect(lost.id, outcome, CORRECTED))
        assert store.view(trial.id) == before
        assert store.recollect(lost.id, outcome, CORRECTED).value == 0.5

    def test_of_processes_that_collect_at_once_one_is_the_last(
        self, store: Store, trial: Run, lost: Attempt
    ) -> None:
        def read(index: int) -> float | None:
            seen = [Observation("loss", float(index), step) for step in range(20)]
            return store.recollect(
                lost.id, succeeded(float(index), observations=seen), CORRECTED
            ).value

        assert sorted(together(6, read)) == [float(index) for index in range(6)]
        view = store.view(trial.id).trials[0]
        assert {seen.value for seen in view.observations} == {view.trial.value}
        assert len(view.observations) == 20

    def test_how_a_run_has_ended_can_be_changed(self, store: Store, run: Run, clock: Clock) -> None:
        assert store.judge_run_again(run.id, RunStatus.COMPLETE, "all is well") == run
        ended = store.finish_run(run.id, RunStatus.FAILED, "no trial is complete")
        clock.advance(5)
        judged = store.judge_run_again(run.id, RunStatus.COMPLETE, "all is well")
        assert judged == replace(ended, status=RunStatus.COMPLETE, reason="all is well")
        assert store.run(KEY) == judged


class ValueContract:
    """Values: what goes in comes out."""

    @settings(max_examples=15, suppress_health_check=INHERITED)
    @given(params=params, metrics=st.dictionaries(st.text(), any_floats, max_size=3), seen=series)
    def test_a_trial_comes_back_as_it_was_written(
        self,
        store: Store,
        keys: Iterator[RunKey],
        params: Params,
        metrics: dict[str, float],
        seen: list[Observation],
    ) -> None:
        run = begin(store, next(keys))
        given_out = store.next_batch(run.id, "w", lambda _: Answer((Assignment(7, params),)))
        assert exact(given_out.assignments[0].params) == exact(params)
        attempt = attempt_of(store, run, 7)
        outcome = succeeded(1 / 3, metrics=metrics, observations=seen)
        done = store.close_attempt(attempt.id, outcome, final=True)
        view = store.view(run.id).trials[0]
        assert repr(view.trial) == repr(done) == repr(store.history(run.id).trials[0])
        assert (exact(done.params), done.value) == (exact(params), 1 / 3)
        assert exact(done.metrics) == exact(metrics)
        assert [comparable(one) for one in view.observations] == [comparable(o) for o in seen]

    @settings(max_examples=15, suppress_health_check=INHERITED)
    @given(st.text(st.characters() | st.characters(categories=["Cs"]) | st.just("\0")))
    def test_text_of_any_origin_is_stored_readably(
        self, store: Store, keys: Iterator[RunKey], words: str
    ) -> None:
        clean = "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in words)
        run = store.start_run(next(keys), SPEC, triggered_by=words, provenance=Provenance())
        assert run.triggered_by == clean
        store.next_batch(run.id, words, Engineer())
        assert store.batch_of(run.id, words) == Batch((assignment(0),))
        attempt = attempt_of(store, run)
        outcome = failed(reason=words, log_tail=words)
        assert store.close_attempt(attempt.id, outcome, final=True).reason == clean
        assert store.attempts(run.id, 0)[0].log_tail == clean

    def test_plain_values_keep_every_character(self, store: Store, run: Run) -> None:
        odd = Assignment(0, {"text": "\0 \ud800 \U0001f600 \u2028"})
        assert store.next_batch(run.id, "w", lambda _: Answer((odd,))).assignments == (odd,)
        attempt = store.open_attempt(run.id, 0, lambda _: {"path": "out/\udcff"})
        assert attempt.handle == {"path": "out/\udcff"}

    def test_not_a_number_and_infinities_survive_in_a_series(
        self, store: Store, trial: Run
    ) -> None:
        values = [math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308]
        seen = [Observation("loss", value, step) for step, value in enumerate(values)]
        attempt = attempt_of(store, trial)
        outcome = failed(Cause.OBJECTIVE_NOT_FINITE, metrics={"loss": math.nan}, observations=seen)
        done = store.close_attempt(attempt.id, outcome, final=True)
        assert math.isnan(done.metrics["loss"])
        found = [one.value for one in store.view(trial.id).trials[0].observations]
        assert math.isnan(found[0])
        assert found[1:] == values[1:]

    def test_a_step_or_time_that_says_nothing_is_dropped(self, store: Store, trial: Run) -> None:
        attempt = attempt_of(store, trial)
        seen = [Observation("loss", 1.0, 10**300, math.nan), Observation("loss", 2.0, 3, math.inf)]
        store.close_attempt(attempt.id, succeeded(observations=seen), final=True)
        expected = [Observation("loss", 1.0), Observation("loss", 2.0, 3)]
        assert store.view(trial.id).trials[0].observations == expected

    def test_only_the_newest_attempt_is_observed_in_a_view(self, store: Store, trial: Run) -> None:
        first = attempt_of(store, trial)
        old, new = [Observation("loss", 9.0)], [Observation("loss", 1.0)]
        store.close_attempt(first.id, failed(Cause.LOST, observations=old), final=False)
        assert store.view(trial.id).trials[0].observations == old
        second = attempt_of(store, trial)
        assert store.view(trial.id).trials[0].observations == []
        store.close_attempt(second.id, succeeded(observations=new), final=True)
        assert store.view(trial.id).trials[0].observations == new

    def test_a_view_knows_the_front_and_what_is_feasible(self, store: Store) -> None:
        run = begin(store, spec=TWO)
        store.next_batch(run.id, "wave-01", Engineer(6))
        rows = [(0.5, 3.0, 1.0), (0.4, 5.0, 0.0), (0.6, 4.0, 0.5), (0.1, 1.0, 1.5)]
        for number, (loss, size, gap) in enumerate(rows):
            metrics = {"loss": loss, "size": size, "gap": gap}
            closed = succeeded(loss, metrics=metrics)
            store.close_attempt(attempt_of(store, run, number).id, closed, final=True)
        store.close_attempt(attempt_of(store, run, 4).id, failed(), final=True)
        view = store.view(run.id)
        assert (view.front, view.feasible) == ([0, 1], [0, 1, 2])
        assert view.goal == TWO.goal

    def test_the_front_of_one_objective_is_the_best_trial(self, store: Store) -> None:
        run = begin(store)
        store.next_batch(run.id, "wave-01", Engineer(3))
        for number, loss in enumerate((0.5, 0.25, 0.25)):
            store.close_attempt(attempt_of(store, run, number).id, succeeded(loss), final=True)
        assert (store.view(run.id).front, store.view(run.id).feasible) == ([1], [0, 1, 2])

    def test_a_refused_run_has_neither(self, store: Store) -> None:
        refused = store.refuse_run(KEY, "name: is required", triggered_by="ada")
        view = store.view(refused.id)
        assert (view.goal, view.front, view.feasible) == (None, [], [])

    def test_a_view_takes_as_many_queries_for_many_trials_as_for_one(
        self, store: Store, run: Run
    ) -> None:
        store.next_batch(run.id, "wave-01", Engineer(30))
        for number in range(10):
            attempt = attempt_of(store, run, number)
            store.close_attempt(attempt.id, succeeded(float(number)), final=True)
        asked: list[str] = []

        def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            asked.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            view = store.view(run.id)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        assert len([said for said in asked if said.startswith("SELECT")]) == 9
        assert [one.trial.number for one in view.trials] == list(range(30))
        assert view.run == run

    def test_elapsed_time_stands_still_when_the_run_has_ended(
        self, store: Store, run: Run, clock: Clock
    ) -> None:
        clock.advance(90)
        assert store.history(run.id).elapsed_s == 90
        store.finish_run(run.id, RunStatus.COMPLETE, "done")
        clock.advance(90)
        assert store.history(run.id).elapsed_s == 90

    def test_times_are_utc_wherever_the_clock_is(self, url: str) -> None:
        local = START.astimezone(timezone(timedelta(hours=5, minutes=30)))
        with Store.open(url, now=lambda: local) as store:
            assert begin(store).started_at == START
            assert store.run(KEY).started_at.utcoffset() == timedelta(0)

    def test_a_clock_that_runs_behind_gives_no_negative_time(
        self, store: Store, trial: Run, clock: Clock
    ) -> None:
        attempt = attempt_of(store, trial)
        clock.advance(-5)
        assert store.close_attempt(attempt.id, succeeded(), final=True).duration_s == 0
        assert store.history(trial.id).elapsed_s == 0


class StoreContract(
    SchemaContract, RunContract, LeaseContract, TrialContract, RecollectContract, ValueContract
):
    """All of it; a subclass supplies the fixture `empty_url`, a database without tables."""

    @pytest.fixture
    def url(self, empty_url: str) -> str:
        upgrade(empty_url)
        return empty_url

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def store(self, url: str, clock: Clock) -> Iterator[Store]:
        with Store.open(url, now=clock) as store:
            yield store

    @pytest.fixture
    def run(self, store: Store) -> Run:
        return begin(store)

    @pytest.fixture
    def trial(self, store: Store, run: Run) -> Run:
        """Give a run with one trial, number 0, that nobody has begun yet."""
        store.next_batch(run.id, "wave-01", Engineer())
        return run

    @pytest.fixture
    def keys(self) -> Iterator[RunKey]:
        return (RunKey("hpo_local", f"example-{number}") for number in itertools.count())
