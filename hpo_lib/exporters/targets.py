"""Where an installation has ended runs brought to: `exports` of config/deployment.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo_lib import registry
from hpo_lib.errors import SpecError
from hpo_lib.validation import shown


def targets_of(plain: Any, at: str) -> dict[str, str | None]:
    """Read targets by the names of exporters; one that is null has none.

    SpecError tells what is wrong, with its path `at` and below, and never a password.
    """
    if plain is None:
        return {}
    if not isinstance(plain, dict):
        raise SpecError(f"{at}: must be a mapping of exporters to targets, got {shown(plain)}")
    return {str(name): _target(name, target, at) for name, target in plain.items()}


def _target(name: Any, target: Any, at: str) -> str | None:
    try:
        kind = registry.load("exporter", str(name))
    except SpecError as error:
        raise SpecError(f"{at}: {error}") from None
    if target is None:
        return None
    if not isinstance(target, str) or not target.strip():
        raise SpecError(f"{at}.{name}: must be a server, a folder or a file, got {shown(target)}")
    if "://" not in target and not Path(target).is_absolute():
        rule = "must be an address or an absolute path, as each worker has a folder of its own"
        raise SpecError(f"{at}.{name}: {rule}, got {shown(target)}")
    try:
        kind(target)
    except SpecError as error:
        raise SpecError(f"{at}.{name}: {str(error).removeprefix(f'{name}: ')}") from None
    return target
