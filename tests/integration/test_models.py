"""The contract of models on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_lib.store import Store, upgrade
from tests.integration.models_contract import ModelsContract


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    upgrade(url)
    with Store.open(url) as opened:
        yield opened


class TestSqlite(ModelsContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/hpo.db"


class TestPostgresql(ModelsContract):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url
