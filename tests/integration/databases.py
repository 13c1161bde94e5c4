"""The databases of the store: inherit one beside a contract that asks for `url` or `store`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_lib.store import Store, upgrade


class _Upgraded:
    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        upgrade(url)
        with Store.open(url) as opened:
            yield opened


class OnSqlite(_Upgraded):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/hpo.db"


class OnPostgresql(_Upgraded):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url
