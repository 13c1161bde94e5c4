"""A real PostgreSQL for the tests of this folder, and a fresh, empty database per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import Server, postgresql

pytest.register_assert_rewrite(
    "tests.integration.store_contract", "tests.integration.deployer_contract"
)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server for all tests."""
    with postgresql() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Server) -> Iterator[str]:
    """Give the address of a fresh, empty database."""
    name = postgres.new_database()
    yield postgres.url(name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
