"""The contract of models on both databases."""

from __future__ import annotations

from tests.integration.databases import OnPostgresql, OnSqlite
from tests.integration.models_contract import ModelsContract


class TestSqlite(OnSqlite, ModelsContract):
    pass


class TestPostgresql(OnPostgresql, ModelsContract):
    pass
