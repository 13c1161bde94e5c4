"""The store's contract on both databases, and what only one of them can get wrong."""

from __future__ import annotations

import gc
import logging
import os
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import make_url

from hpo_lib.errors import HpoError, StoreError, TransientError
from hpo_lib.records import Run, RunKey, RunStatus
from hpo_lib.store import Store, revision, upgrade
from tests.integration import models_contract, reuse_contract, rungs_contract, store_contract
from tests.integration.store_contract import KEY, Answer, Clock, Engineer, StoreContract, assignment

if TYPE_CHECKING:
    from tests.postgres import Server

USES = pytest.mark.parametrize("use", [Store.open, upgrade, revision])


class TestSqlite(StoreContract):
    @pytest.fixture
    def empty_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/our store.db"

    def test_upgrading_makes_the_folder(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/new/folder/hpo.db"
        upgrade(url)
        Store.open(url).close()

    def test_looking_at_a_store_that_is_not_there_makes_nothing(self, tmp_path: Path) -> None:
        assert revision(f"sqlite:///{tmp_path}/new/hpo.db") is None
        with pytest.raises(StoreError):
            Store.open(f"sqlite:///{tmp_path}/hpo.db")
        assert list(tmp_path.iterdir()) == []

    def test_a_relative_path_is_shown_in_full(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        upgrade("sqlite:///hpo.db")
        with Store.open("sqlite:///hpo.db") as store:
            assert repr(store) == f"Store('sqlite:///{tmp_path}/hpo.db')"

    def test_readers_do_not_wait_for_a_writer(self, url: str, store: Store, run: Run) -> None:
        with closing(sqlite3.connect(make_url(url).database or "")) as writer:
            assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            writer.execute("BEGIN IMMEDIATE")
            with Store.open(url, lock_timeout_s=0) as hurried:
                assert hurried.run(KEY) == run
                with pytest.raises(TransientError, match="locked"):
                    hurried.next_batch(run.id, "wave-01", Engineer())

    @pytest.mark.parametrize("address", ["sqlite://", "sqlite:///:memory:", "sqlite://hpo.db"])
    @USES
    def test_a_store_needs_a_file(self, use: Callable[[str], object], address: str) -> None:
        with pytest.raises(StoreError, match="needs a file: sqlite:///"):
            use(address)

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match=r"cannot make the folder .*file/hpo\.db"):
            upgrade(f"sqlite:///{tmp_path}/file/hpo.db")

    def test_a_folder_in_the_place_of_the_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=f"cannot use the store at sqlite:///{tmp_path}: "):
            upgrade(f"sqlite:///{tmp_path}")

    @USES
    def test_a_file_that_is_no_database_is_named_and_left_alone(
        self, use: Callable[[str], object], tmp_path: Path
    ) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("my notes" * 100)
        with pytest.raises(StoreError, match=r"notes\.txt: file is not a database; give the path"):
            use(f"sqlite:///{path}")
        assert path.read_text() == "my notes" * 100

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_file_that_may_not_be_written_is_named(
        self, url: str, store: Store, run: Run
    ) -> None:
        path = Path(make_url(url).database or "")
        path.chmod(0o400)
        with pytest.raises(StoreError, match=r"readonly.*must be writable"):
            store.next_batch(run.id, "wave-01", Engineer())

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    @USES
    def test_a_folder_that_may_not_be_entered_is_named(
        self, use: Callable[[str], object], tmp_path: Path
    ) -> None:
        tmp_path.chmod(0o000)
        try:
            with pytest.raises(StoreError, match="Permission denied"):
                use(f"sqlite:///{tmp_path}/folder/hpo.db")
        finally:
            tmp_path.chmod(0o700)


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Let threads do the work at the same moment; their results in any order."""
    barrier = Barrier(count)

    def one(index: int) -> Any:
        barrier.wait(60.0)
        return work(index)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


class TestSqliteKeptOpen(StoreContract):
    """As slots use it."""

    @pytest.fixture
    def empty_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/hpo.db"

    @pytest.fixture
    def store(self, url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
        for contract in (store_contract, models_contract, reuse_contract, rungs_contract):
            monkeypatch.setattr(contract, "together", in_threads)  # it serves one process
        with Store.open(url, now=clock, keep_open=True) as store:
            yield store

    def test_a_file_that_is_put_in_its_place_is_used_from_then_on(
        self, url: str, store: Store, run: Run, tmp_path: Path
    ) -> None:
        """As who restores a copy does: what is written afterwards is in the new file, and kept."""
        path = Path(make_url(url).database or "")
        with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(tmp_path / "b")) as new:
            old.backup(new)
        (tmp_path / "b").replace(path)
        for old_one in (path.with_name(f"{path.name}-{end}") for end in ("wal", "shm")):
            old_one.unlink()
        with closing(sqlite3.connect(path)) as another:  # whose log is not to be deleted under it
            another.execute("PRAGMA journal_mode = WAL")
            store.next_batch(run.id, "wave-01", lambda _: Answer((assignment(0),)))
            store.close()
            gc.collect()
            assert another.execute("SELECT count(*) FROM trials").fetchone() == (1,)
            assert path.with_name(f"{path.name}-wal").exists()
        with closing(sqlite3.connect(path)) as later:
            assert later.execute("SELECT count(*) FROM trials").fetchone() == (1,)

    def test_a_forked_process_is_refused(self, url: str, store: Store, run: Run) -> None:
        """It has none of its parent's locks, which SQLite believes that it has: commits were lost.

        It leaves its parent's connections as they are, also at its end.
        """
        store.next_batch(run.id, "wave-01", lambda _: Answer((assignment(0),)))
        child = os.fork()
        if not child:
            code = 1
            try:
                with pytest.raises(StoreError, match="is kept open by process"):
                    store.next_batch(run.id, "wave-02", lambda _: Answer((assignment(1),)))
                store.close()
                gc.collect()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert Path(f"{make_url(url).database}-wal").exists()
        store.next_batch(run.id, "wave-03", lambda _: Answer((assignment(2),)))
        assert len(store.history(run.id).trials) == 2


class TestPostgres(StoreContract):
    @pytest.fixture
    def empty_url(self, postgres_url: str) -> str:
        return postgres_url

    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
    def test_every_usual_scheme_is_understood(self, url: str, scheme: str) -> None:
        with Store.open(url.replace("postgresql", scheme, 1)) as store:
            assert store.runs() == []

    def test_a_server_that_goes_away_is_an_outage_and_nothing_is_kept(
        self, url: str, store: Store, run: Run, postgres: Server
    ) -> None:
        store.next_batch(run.id, "wave-01", lambda _: Answer((assignment(0),)))

        def handle(_: int) -> dict[str, str]:
            name = make_url(url).database
            others = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}'"
            postgres.execute(f"SELECT pg_terminate_backend(pid) FROM ({others}) AS o")
            return {}

        with pytest.raises(TransientError, match="try again"):
            store.open_attempt(run.id, 0, handle)
        assert store.attempts(run.id, 0) == []

    def test_a_database_that_is_gone_is_an_outage_to_an_open_store(self, postgres: Server) -> None:
        name = postgres.new_database()
        upgrade(postgres.url(name))
        with Store.open(postgres.url(name)) as store:
            postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
            with pytest.raises(TransientError, match="does not exist"):
                store.runs()

    def test_a_reader_who_may_not_write_is_told_so(
        self, url: str, postgres: Server, run: Run
    ) -> None:
        name = make_url(url).database
        postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with Store.open(url) as store:
            assert store.run(KEY) == run
            with pytest.raises(StoreError, match="read-only transaction"):
                store.finish_run(run.id, RunStatus.FAILED, "no")

    def test_runs_are_locked_one_by_one(self, url: str, run: Run) -> None:
        with Store.open(url, lock_timeout_s=0.1) as store, psycopg.connect(url) as other:
            key = RunKey("hpo_local", "other")
            free = store.refuse_run(key, "no", triggered_by="ada")
            other.execute("SELECT * FROM runs WHERE id = %s FOR UPDATE", [run.id])
            assert store.finish_run(free.id, RunStatus.FAILED, "") == free
            with pytest.raises(TransientError, match="lock timeout"):
                store.finish_run(run.id, RunStatus.FAILED, "no")


@pytest.mark.parametrize("address", ["mysql://ada:sekret@host/hpo", "postgre://h/hpo", "x://y"])
@USES
def test_an_unknown_database_is_refused(use: Callable[[str], object], address: str) -> None:
    with pytest.raises(StoreError, match=r"unknown database .* use sqlite:////.* or postgresql://"):
        use(address)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ada:sekret@127.0.0.1:1/hpo",  # nobody listens
        "postgresql://ada:sekret@no-such-host.invalid/hpo",  # no such machine
        "postgres://ada@127.0.0.1:1/hpo?password=sekret",  # as an option
        "postgresql://ada:sekret@127.0.0.1:1/hpo?sslmode=wrong",  # an option that is wrong
        "postgresql://ada:sekret@127.0.0.1:1/hpo?wrong=1",  # an option that does not exist
        "postgresql://ada:1@sekret@127.0.0.1:1/hpo",  # an @ that is not quoted
        "postgresql://ada@host:sekret/hpo",  # a port that is none
        "mysql://ada:sekret@host/hpo",  # a database that is not known
        "ada:sekret@host/hpo",  # no scheme
        "sekret",  # no address at all
    ],
)
@USES
def test_no_message_holds_the_password(
    use: Callable[[str], object], address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreError) as caught:
        use(address)
    assert "sekret" not in _everything(caught.value) + caplog.text


def test_a_wrong_password_is_told_without_it(postgres: Server) -> None:
    with pytest.raises(StoreError, match=r"hpo:\*\*\*@.*password authentication failed") as caught:
        Store.open(postgres.url("postgres", password="wrong-sekret"))
    assert "sekret" not in _everything(caught.value)


def test_an_open_store_does_not_show_its_password(postgres_url: str) -> None:
    upgrade(postgres_url)
    with Store.open(postgres_url) as store:
        words = repr(store) + repr(vars(store))
    assert "***" in words
    assert str(make_url(postgres_url).password) not in words
    assert postgres_url not in words


def _everything(error: HpoError) -> str:
    """Give all that a traceback would show of an error but the source lines of this test."""
    lines = traceback.TracebackException.from_exception(error)
    said = []
    while lines is not None:
        said += list(lines.format_exception_only())
        lines = lines.__cause__ or (None if lines.__suppress_context__ else lines.__context__)
    return "".join(said)
