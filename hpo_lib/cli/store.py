"""`hpo store`: prepare the tables of the store, or check them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from hpo_lib.cli.console import say, store_url


def store(options: argparse.Namespace) -> int:
    """Bring the store's schema up to date, or check that it is."""
    from hpo_lib.store import Store, upgrade

    url = store_url(options)
    if options.action == "upgrade":
        say(f"the store is at revision {upgrade(url)}")
        return 0
    with Store.open(url):
        say("the store is ready")
    return 0


def _add_store(commands: Any) -> None:
    parser = commands.add_parser(
        "store",
        help="prepare or check the store's schema",
        description="Bring the schema of the experiments' store up to date, or check that it is.",
        epilog="example: HPO_STORE=postgresql://user@host/hpo hpo store upgrade",
    )
    parser.add_argument("action", choices=["upgrade", "check"])
    parser.add_argument("--url", help="the store's address (default: HPO_STORE)")
    parser.set_defaults(run=store)


COMMANDS: list[Callable[[Any], None]] = [_add_store]
