"""Backups of the store by its database's own tools, as docs/stack.md has them."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from hpo_lib.records import RunView
from hpo_lib.store import Store, upgrade
from tests.integration.store_contract import KEY, SPEC, Engineer, begin, handle_for, succeeded


def fill(url: str) -> None:
    upgrade(url)
    with Store.open(url) as store:
        run = begin(store, KEY, SPEC)
        store.next_batch(run.id, "wave-1", Engineer(2))
        attempt = store.open_attempt(run.id, 0, handle_for)
        store.close_attempt(attempt.id, succeeded(0.25, metrics={"loss": 0.25}), final=True)
        store.open_attempt(run.id, 1, handle_for)


def known(url: str) -> tuple[str, list[RunView]]:
    with Store.open(url) as store:
        return store.id, [store.view(run.id) for run in store.runs()]


def test_a_copy_of_an_sqlite_file_in_use_is_a_store(tmp_path: Path) -> None:
    url, copy = f"sqlite:///{tmp_path}/hpo.db", f"sqlite:///{tmp_path}/copy.db"
    fill(url)
    with Store.open(url) as used, closing(sqlite3.connect(tmp_path / "hpo.db")) as shell:
        used.open_attempt(1, 1, handle_for)
        shell.execute(f"VACUUM INTO '{tmp_path}/copy.db'")
    assert known(copy) == known(url)


def test_a_dump_of_postgresql_restores_to_the_same_store(postgres, postgres_url, tmp_path) -> None:
    fill(postgres_url)
    other = postgres.url(postgres.new_database())
    _run(postgres, "pg_dump", "--format=custom", f"--dbname={postgres_url}", f"--file={tmp_path}/d")
    _run(
        postgres, "pg_restore", f"--dbname={other}", "--no-owner", "--exit-on-error", tmp_path / "d"
    )
    assert known(other) == known(postgres_url)


def _run(postgres, program: str, *words: str | Path) -> None:
    """Run a program of the server's own installation, for its version counts."""
    found = shutil.which(program, path=str(Path(postgres.process.args[0]).parent))
    assert found, f"{program} is not beside {postgres.process.args[0]}"
    done = subprocess.run([found, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
