"""Which environment variables a spec may set."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpo_lib.validation import shown

_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SECRET = re.compile(r"passw|secret|token(?!iz)|api_?key|access_?key|private_?key|credential", re.I)
_SHOWN = 1_000
_SECRET_SAID = re.compile(
    rf"(\b\w*(?:{_SECRET.pattern})\w*=)(?:'[^']*'|\"[^\"]*\"|\S+)", re.IGNORECASE
)


def looks_secret(name: str) -> bool:
    """Say whether a variable of this name would hold a secret."""
    return _SECRET.search(name) is not None


def masked(line: str) -> str:
    """Leave out of a command what looks like a secret, as far as it is ever shown."""
    return _SECRET_SAID.sub(r"\1…", line[:_SHOWN]) + line[_SHOWN:]


def wrong(name: str, value: str) -> Iterator[str]:
    """Yield why a variable may not be set."""
    if not _ENV.fullmatch(name) or "\0" in value:
        yield f"a name must be letters, digits and _, got {shown(name)}"
    elif name.startswith(("HPO_", "AIRFLOW", "LD_")):
        yield f"names with HPO_, AIRFLOW or LD_ in front are taken, got {name}"
    elif looks_secret(name):
        yield (
            f"{name} looks like a secret, which a spec must not hold; let the trial "
            "read it from a file or from the worker's own credentials"
        )
