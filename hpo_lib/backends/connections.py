"""What makes clients from an installation's connections, of which Airflow alone knows any."""

from __future__ import annotations

from typing import Any, Never, Protocol

from hpo_lib.errors import SpecError
from hpo_lib.files.artifacts import Options


class Connections(Protocol):
    """Makes clients from an installation's connections."""

    def cluster(self, connection: str | None) -> Any:
        """Make a client of Kubernetes."""
        ...

    def aws(self, connection: str | None, region: str | None, service: str) -> Any:
        """Make a client of one of Amazon's services."""
        ...

    def storage_options(self, connection: str) -> Options:
        """Give what fsspec needs to reach an object store."""
        ...


class NoConnections:
    """Refuses every connection: outside of Airflow none is known."""

    def cluster(self, connection: str | None) -> Never:
        """Refuse."""
        _refuse(connection)

    def aws(self, connection: str | None, region: str | None, service: str) -> Never:
        """Refuse."""
        _refuse(connection)

    def storage_options(self, connection: str) -> Never:
        """Refuse."""
        _refuse(connection)


def _refuse(connection: str | None) -> Never:
    raise SpecError(
        f"connection {connection or 'of this machine'}: only Airflow knows its connections"
    )
