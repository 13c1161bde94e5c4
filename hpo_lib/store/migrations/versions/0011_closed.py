"""Extended runs: from when to when each had ended, which is no run time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of runs that were extended before, nobody knows any more when they ended."""
    op.add_column("runs", sa.Column("closed", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("runs", "closed")
