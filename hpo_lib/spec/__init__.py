"""The spec of an experiment: the one model for conf JSON and YAML file."""

from __future__ import annotations

from hpo_lib.spec.draft import Draft, load
from hpo_lib.spec.model import Spec

__all__ = ["Draft", "Spec", "load"]
