"""What may be asked of MLflow: by a spec, as far as MLflow takes it, and in this installation."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from hpo_lib.validation import Strict, rule, shown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,249}")
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,250}")
_RESERVED = re.compile(r"latest|v[0-9]+", re.I)


class MlflowOptions(Strict):
    """The registered model, by default the experiment's name, and the alias of what serves."""

    model: str | None = None
    alias: str = "champion"

    @field_validator("model")
    @classmethod
    def _check_model(cls, name: str | None) -> str | None:
        if name is not None and not _NAME.fullmatch(name):
            raise rule(
                "must be letters, digits and _ . -, at most 250, beginning with a letter or digit, "
                f"got {shown(name)}"
            )
        return name

    @field_validator("alias")
    @classmethod
    def _check_alias(cls, alias: str) -> str:
        if not _ALIAS.fullmatch(alias):
            raise rule(f"must be letters, digits and _ -, at most 250, got {shown(alias)}")
        if _RESERVED.fullmatch(alias):
            raise rule(f"must not be latest, or v and a number, which MLflow reserves, got {alias}")
        return alias


class MlflowRules(Strict):
    """What `config/deployment.yaml` lets a conf ask of MLflow, and where it is.

    `scoring` is the address of a server that answers for any version, with the placeholders
    `{model}` and `{version}` (as MLflow counts); without it, a version's answers are not tried.
    """

    connection: str | None = None
    models: tuple[str, ...] = Field(default=("*",), strict=False)
    aliases: tuple[str, ...] = Field(default=("champion",), strict=False)
    scoring: str | None = Field(default=None, pattern=r"^https?://")
