"""Eight processes write to one store at once: nothing is there twice, nothing is lost."""

from __future__ import annotations

from benchmarks.writers import measure
from tests.integration.databases import OnPostgresql, OnSqlite


class WritersContract:
    """What any number of runs at once may rely on."""

    def test_every_trial_of_eight_writers_is_there_once(self, url: str, store: object) -> None:
        """`measure` counts them; the benchmark does the same with 2,000 trials."""
        measure(url, 160)


class TestOnSqlite(OnSqlite, WritersContract):
    """On SQLite."""


class TestOnPostgresql(OnPostgresql, WritersContract):
    """On PostgreSQL."""
