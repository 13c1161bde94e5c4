"""The spec of an experiment: one model for conf JSON and YAML file, and for other tools' to come.

There is no importer of another tool's spec yet. It belongs here: a module that gives a `Spec`, as
`yaml_file` does.
"""

from __future__ import annotations

from hpo_lib.spec.draft import Draft, load, stored
from hpo_lib.spec.model import Spec

__all__ = ["Draft", "Spec", "load", "stored"]
