"""A name of its own for every store: what runs elsewhere bears it, and is told apart by it."""

from __future__ import annotations

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, with its only row."""
    table = op.create_table("identity", sa.Column("id", sa.Text(), primary_key=True))
    op.bulk_insert(table, [{"id": uuid4().hex[:12]}])


def downgrade() -> None:
    """Forget the name."""
    op.drop_table("identity")
