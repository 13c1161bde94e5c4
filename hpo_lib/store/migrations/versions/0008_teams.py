"""Teams: whose a run is. An experiment of a team has the team in its name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; runs that are there are no team's."""
    op.add_column("runs", sa.Column("team", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop it; a team's experiments keep their names, which begin with the team."""
    op.drop_column("runs", "team")
