"""One Airflow for all tests of runs: searches, kills, backends, the API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import Stack, shared


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running Airflow with a store of its own."""
    with shared(tmp_path_factory) as started:
        yield started
