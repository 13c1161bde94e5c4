"""Long runs: what a trial was given last, and whether a run stops, is found without reading all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index the answers to slots by their trials, and the few that are stops."""
    op.create_index("ix_leases_trial", "leases", ["run_id", "trial"])
    stops = sa.text("action IS NOT NULL")
    op.create_index(
        "ix_leases_stop", "leases", ["run_id"], sqlite_where=stops, postgresql_where=stops
    )


def downgrade() -> None:
    """Go back to reading all."""
    op.drop_index("ix_leases_stop", "leases")
    op.drop_index("ix_leases_trial", "leases")
