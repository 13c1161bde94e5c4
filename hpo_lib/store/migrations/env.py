"""Alembic's entry point: runs the revisions in the transaction that its caller has opened."""

from __future__ import annotations

from alembic import context

from hpo_lib.store.database import VERSION_TABLE
from hpo_lib.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
