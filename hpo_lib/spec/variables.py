"""Which environment variables a spec may set, wherever it sets them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpo_lib.validation import shown

_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SECRET = re.compile(r"passw|secret|token(?!iz)|api_?key|access_?key|private_?key|credential", re.I)
_SHOWN = 1_000
#: In front of names that are ours, Airflow's, or the loader's.
_TAKEN = ("HPO_", "AIRFLOW", "LD_")
#: With these the loader, a shell or an interpreter runs other code before that of its program.
_BEFORE = frozenset({"BASH_ENV", "GCONV_PATH", "GLIBC_TUNABLES", "PYTHONHOME", "PYTHONSTARTUP"})
#: With these it finds other code than its program's: a matter of whose program it is.
_BESIDE = frozenset(
    {
        *("CLASSPATH", "IFS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "NODE_OPTIONS", "NODE_PATH"),
        *("PATH", "PERL5LIB", "PERL5OPT", "PS4", "PYTHONBREAKPOINT", "PYTHONINSPECT", "PYTHONPATH"),
        *("PYTHONUSERBASE", "PYTHONWARNINGS", "RUBYLIB", "RUBYOPT", "SHELLOPTS", "_JAVA_OPTIONS"),
    }
)
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
    """Yield why a variable may not be set to a value that stands in the spec."""
    found = list(taken(name))
    if "\0" in value and not found:
        found.append(f"a value must hold no NUL character, got that of {name}")
    yield from found
    if not found and looks_secret(name):
        yield (
            f"{name} looks like a secret, which a spec must not hold; let the trial "
            "read it from a file or from the worker's own credentials"
        )


def taken(name: str, *, own_program: bool = True) -> Iterator[str]:
    """Yield why a variable of this name may not be set, wherever its value comes from.

    A spec's own program may be told where it finds its code; what the installation runs may not.
    """
    if not _ENV.fullmatch(name):
        yield f"a name must be letters, digits and _, got {shown(name)}"
    elif name.startswith(_TAKEN):
        yield f"names with HPO_, AIRFLOW or LD_ in front are taken, got {name}"
    elif name in _BEFORE or (name in _BESIDE and not own_program):
        yield f"{name} changes the code that a program runs; set it in a program of your own"


def begins_taken(prefix: str) -> bool:
    """Say whether a name with this prefix, whatever follows it, may be one that is taken."""
    begun = any(one.startswith(prefix) for one in (*_TAKEN, *_BEFORE))
    return bool(prefix) and (begun or prefix.startswith(_TAKEN))
