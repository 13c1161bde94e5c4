"""What advises a run, kept when it begins: its history stays the same whatever others do later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; runs that are there had no advice."""
    op.add_column("runs", sa.Column("earlier", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("runs", "earlier")
