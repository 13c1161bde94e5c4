"""Which Airflow a command speaks to, and as whom: options, environment, saved contexts, keyring.

The file of contexts holds addresses and user names, never a password or a token.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from hpo_lib.cli.console import embedded, remark, say, still
from hpo_lib.errors import HpoError, NotFound, SpecError, nearest
from hpo_lib.validation import Strict, parse, rule, shown

if TYPE_CHECKING:
    from hpo_lib.cli.airflow_api import Airflow
    from hpo_lib.cli.without_airflow import Reader

_SERVICE = "hpo"


def checked_url(url: str) -> str:
    """Let through the address of an Airflow, without a slash at its end."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise rule(f"must look like https://airflow.example.org, got {shown(url)}")
    return url.rstrip("/")


class Context(Strict):
    """An Airflow, and as whom one speaks to it."""

    airflow: str
    user: str | None = None

    _address = field_validator("airflow")(checked_url)


class Contexts(Strict):
    """The saved contexts by name, and which one counts where nothing else is said."""

    current: str | None = None
    contexts: dict[str, Context] = Field(default_factory=dict)


def path() -> Path:
    """Give the file: HPO_CONTEXTS, or contexts.json in the user's folder of settings."""
    named = os.environ.get("HPO_CONTEXTS")
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return Path(named) if named else folder / "hpo" / "contexts.json"


def read() -> Contexts:
    """Read the file; SpecError names what is wrong in it."""
    try:
        found = json.loads(path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Contexts()
    except (OSError, ValueError) as error:
        raise SpecError(f"{path()}: cannot be read: {error}") from None
    return parse(Contexts, found, at=str(path()))


def write(contexts: Contexts) -> None:
    """Write the file in one step, for its owner only."""
    place = path()
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = place.with_name(f"{place.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(contexts.model_dump_json(indent=2) + "\n")
    fresh.replace(place)


def chosen(options: argparse.Namespace) -> Context | None:
    """Give the context that a command is told; None stands for this checkout's own Airflow."""
    user = getattr(options, "user", None) or os.environ.get("HPO_USER")
    named = getattr(options, "context", None) or os.environ.get("HPO_CONTEXT")
    url = getattr(options, "airflow", None) or os.environ.get("HPO_AIRFLOW")
    if url:
        return parse(Context, {"airflow": url, "user": user}, at="--airflow")
    saved = read()
    name = named or saved.current
    if name is None:
        return None
    found = _named(saved, name)
    return found.model_copy(update={"user": user}) if user else found


def _named(saved: Contexts, name: str) -> Context:
    if name not in saved.contexts:
        known = ", ".join(saved.contexts) or "none"
        hint = nearest(name, saved.contexts)
        raise NotFound(f"there is no context {name!r}{hint}; known: {known}")
    return saved.contexts[name]


def client(options: argparse.Namespace) -> Airflow:
    """Give a client of the Airflow that a command is told; it logs in when it has to."""
    from hpo_lib.cli.airflow_api import Airflow

    context = chosen(options)
    if context is None:
        from hpo_lib.cli.embedded import NONE

        own = embedded()
        if not own.running():
            raise HpoError(f"{NONE}, and `hpo --airflow URL` asks another one")
        return own.client()
    if token := os.environ.get("HPO_TOKEN"):
        return Airflow(context.airflow, "", "", token=token)
    user = context.user or _asked("user", input)
    return Airflow(context.airflow, user, _password(context.airflow, user))


def reader(options: argparse.Namespace) -> Reader:
    """Give whom a command asks that only reads: without Airflow, this folder's store."""
    own = embedded()
    if chosen(options) is not None or own.running() or not own.has_store:
        return client(options)
    from hpo_lib.cli.without_airflow import OfStore

    remark("no Airflow runs here; this is what its store knows:")
    return OfStore(own.store_url)


def _password(url: str, user: str) -> str:
    return (
        os.environ.get("HPO_PASSWORD")
        or _kept(url, user)
        or _asked("password", lambda text: getpass.getpass(f"{user} at {url}, {text}"))
    )


def _asked(what: str, ask: Callable[[str], str]) -> str:
    """Ask at the terminal; SpecError says what to do where there is none."""
    if not sys.stdin.isatty():
        raise SpecError(
            f"no {what}: set HPO_TOKEN, or HPO_USER and HPO_PASSWORD, or save the password with "
            "`hpo context login`"
        )
    with still():
        return ask(f"{what}: ")


def _kept(url: str, user: str) -> str | None:
    """Look a password up in the keyring; None without the package, or a keyring that is there."""
    if find_spec("keyring") is None:
        return None
    import keyring
    from keyring.errors import KeyringError

    try:
        found: str | None = keyring.get_password(f"{_SERVICE}:{url}", user)
    except KeyringError:
        return None
    return found


def login(options: argparse.Namespace) -> int:
    """Ask for a password, try it, and keep it in the keyring of this machine."""
    from hpo_lib.cli.airflow_api import Airflow

    if find_spec("keyring") is None:
        raise HpoError("keeping a password needs the package keyring, in the extra terminal")
    import keyring

    context = chosen(options)
    if context is None:
        raise SpecError("no Airflow is named: say --airflow URL, or save a context first")
    user = context.user or _asked("user", input)
    password = _asked("password", lambda text: getpass.getpass(text))
    Airflow(context.airflow, user, password).login()
    keyring.set_password(f"{_SERVICE}:{context.airflow}", user, password)
    say(f"the password of {user} at {context.airflow} is in the keyring")
    return 0


def add(options: argparse.Namespace) -> int:
    """Save a context, and use it from now on."""
    saved = read()
    made = parse(Context, {"airflow": options.url, "user": options.user}, at=options.name)
    known = {**saved.contexts, options.name: made}
    write(Contexts(current=options.name, contexts=known))
    say(f"context {options.name}: {made.airflow}")
    return 0


def use(options: argparse.Namespace) -> int:
    """Use a saved context from now on; `-` is this checkout's own Airflow."""
    saved = read()
    name = None if options.name == "-" else options.name
    if name is not None:
        _named(saved, name)
    write(saved.model_copy(update={"current": name}))
    return 0


def remove(options: argparse.Namespace) -> int:
    """Forget a saved context."""
    saved = read()
    _named(saved, options.name)
    kept = {name: one for name, one in saved.contexts.items() if name != options.name}
    current = None if saved.current == options.name else saved.current
    write(Contexts(current=current, contexts=kept))
    return 0


def show(options: argparse.Namespace) -> int:
    """List the saved contexts; a star is at the one that counts."""
    saved = read()
    if options.json:
        say(saved.model_dump_json())
        return 0
    for name, one in saved.contexts.items():
        mark = "*" if name == saved.current else " "
        say(f"{mark} {name}  {one.airflow}  {one.user or ''}".rstrip())
    return 0


def _add_context(commands: Any) -> None:
    text = "save addresses of Airflow, and choose which one counts"
    parser = commands.add_parser("context", help=text, description=text)
    parts = parser.add_subparsers(required=True, metavar="ACTION")
    made = parts.add_parser("add", help="save a context, and use it")
    made.add_argument("name", metavar="NAME")
    made.add_argument("url", metavar="URL")
    made.add_argument("--user")
    made.set_defaults(run=add)
    for name, run, text in (
        ("use", use, "use a context from now on; - is this checkout's own Airflow"),
        ("remove", remove, "forget a context"),
    ):
        made = parts.add_parser(name, help=text)
        made.add_argument("name", metavar="NAME")
        made.set_defaults(run=run)
    made = parts.add_parser("list", help="list them")
    made.add_argument("--json", action="store_true")
    made.set_defaults(run=show)
    made = parts.add_parser("login", help="keep the password in this machine's keyring")
    made.set_defaults(run=login)


COMMANDS: list[Callable[[Any], None]] = [_add_context]
