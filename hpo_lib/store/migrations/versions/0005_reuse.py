"""Results that are reused: what a run's results depend on, and whose result a trial has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of runs that are there nobody knows what they depended on."""
    op.add_column("runs", sa.Column("fingerprint", sa.Text()))
    op.add_column("trials", sa.Column("reused_run", sa.Integer()))
    op.add_column("trials", sa.Column("reused_trial", sa.Integer()))


def downgrade() -> None:
    """Forget them: trials that were reused stay complete."""
    op.drop_column("trials", "reused_trial")
    op.drop_column("trials", "reused_run")
    op.drop_column("runs", "fingerprint")
