"""The store of experiments, in SQLite or PostgreSQL."""

from __future__ import annotations

from hpo_lib.store.store import Store, revision, upgrade

__all__ = ["Store", "revision", "upgrade"]
