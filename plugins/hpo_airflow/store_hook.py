"""The connection type `hpo_store`: the address of the store, with a test of it in Airflow's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from hpo_lib.errors import HpoError

if TYPE_CHECKING:
    from hpo_lib.store import Store

CONN_TYPE = "hpo_store"
_SCHEME = "hpo-store://"


class StoreHook(BaseHook):
    """Opens the store that a connection leads to, PostgreSQL or a file of SQLite."""

    conn_name_attr = "hpo_conn_id"
    default_conn_name = "hpo_store"
    conn_type = CONN_TYPE
    hook_name = "HPO store"

    def __init__(self, hpo_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.hpo_conn_id = hpo_conn_id

    def get_conn(self) -> Store:
        """Open the store; StoreError says how to prepare it."""
        from hpo_lib.store import Store

        return Store.open(address_of(self.get_connection(self.hpo_conn_id)))

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the store is there and at this version's revision."""
        try:
            with self.get_conn():
                return True, "The store is ready"
        except HpoError as error:
            return False, str(error)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Name the fields of the form."""
        return {
            "hidden_fields": [],
            "relabeling": {"schema": "Database"},
            "placeholders": {
                "host": "of PostgreSQL; leave it empty for SQLite",
                "schema": "a database, or the absolute path of a file of SQLite",
            },
        }


def address_of(connection: Any) -> str:
    """Give a store's address; a connection of another type, such as postgres, says it as a URI.

    One without a host leads to a file of SQLite, whose path is its schema.
    """
    uri = str(connection.get_uri())
    if connection.conn_type != CONN_TYPE:
        return uri
    if not connection.host:
        return f"sqlite:///{connection.schema or ''}"
    return uri.replace(_SCHEME, "postgresql://", 1)
