"""Extended runs: from when to when each had ended, which is no run time.

And an index by which the newest answer of a long run is found at once.
"""

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
    op.create_index("ix_leases_run", "leases", ["run_id", "id"])


def downgrade() -> None:
    """Drop both."""
    op.drop_index("ix_leases_run", "leases")
    op.drop_column("runs", "closed")
