"""Ended runs, brought to where the installation says: `exports` of config/deployment.yaml.

Each exporter has a process of its own, which can neither hang, nor leave anything in a task's
memory, nor outlive it. What goes wrong is logged, and nothing comes of it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hpo_lib import registry
from hpo_lib.deployers import checking
from hpo_lib.errors import HpoError
from hpo_lib.exporters import Exported
from hpo_lib.frames import view_of
from hpo_lib.installation import Installation
from hpo_lib.records import Run
from hpo_lib.runs import apart, outputs
from hpo_lib.spec.variables import looks_secret
from hpo_lib.store import Store

log = logging.getLogger(__name__)
#: So long all exports of a run may take: trials by the thousand, one by one, to a server.
PATIENCE_S = 1_800.0
_LOCK = ".export"
#: A user, and a password, in an address.
_USER = re.compile(r"//[^/@\s]+@")
#: A shorter secret is part of too many words.
_SHORTEST = 4


def bring(
    store: Store, run: Run, installation: Installation, patience_s: float = PATIENCE_S
) -> None:
    """Export a run to each target of the installation; never raises, the log has what went wrong.

    While another process does so for the same run, nothing is done.
    """
    try:
        targets = installation.exports()
        if targets:
            with _alone(run, installation) as alone:
                _to_all(store, run, targets if alone else {}, time.monotonic() + patience_s)
    except Exception as error:
        log.error("run %s cannot be exported: %s", run.id, masked(str(error) or repr(error)))


def _to_all(store: Store, run: Run, targets: Mapping[str, str], until: float) -> None:
    """Export a run to one target after the other: each has its share of the time that is left."""
    for left, (name, target) in zip(range(len(targets), 0, -1), targets.items(), strict=True):
        share_s = (until - time.monotonic()) / left
        try:
            where, wrong = _apart(store, run, name, target, share_s)
        except Exception as error:
            where, wrong = "", str(error) or repr(error)
        if wrong:
            again = f"hpo export {run.id} --to {name} -o {target}"
            log.error("run %s: export %s: %s (again: %s)", run.id, name, masked(wrong), again)
        else:
            log.info("run %s: export %s: %s", run.id, name, masked(where))


@contextmanager
def _alone(run: Run, installation: Installation) -> Iterator[bool]:
    """Say whether no other process exports the run, and keep it so."""
    folder = outputs.report_path(run, installation).parent
    folder.mkdir(parents=True, exist_ok=True)
    opened = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with os.fdopen(opened) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("run %s is being exported by another process", run.id)
            yield False
        else:
            yield True


def _apart(store: Store, run: Run, name: str, target: str, patience_s: float) -> tuple[str, str]:
    """Have another process export a run; give where it is now, or what went wrong."""
    asked = {"store": store.address, "run": run.id, "name": name, "target": target}
    try:
        done = checking.run(
            apart.words(__name__), apart.ROOT, patience_s, apart.environment(), json.dumps(asked)
        )
    except subprocess.TimeoutExpired:
        return "", f"it was not done after {patience_s:.0f} s"
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        said = done.stderr.strip().splitlines()[-1:]
        return "", f"its process ended with code {done.returncode}: {''.join(said)}"
    return answer["where"], answer["wrong"]


def exported(store: Store, number: int) -> Exported:
    """Take a run of a store; NotFound."""
    return Exported(view_of(store, number), lambda: store.listing.reported(number))


def masked(text: str, variables: Mapping[str, str] = os.environ) -> str:
    """Leave out what the environment holds as a secret, and users in addresses."""
    held = (value.strip() for name, value in variables.items() if looks_secret(name))
    for secret in sorted(held, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, "…")
    return _USER.sub("//…@", text)


def _export(asked: Mapping[str, Any]) -> dict[str, str]:
    """Do what `_apart` has asked for."""
    try:
        exporter = registry.load("exporter", asked["name"])(asked["target"])
        with Store.open(asked["store"]) as store:
            return {"where": exporter.export(exported(store, asked["run"])), "wrong": ""}
    except HpoError as error:
        return {"where": "", "wrong": str(error)}
    except Exception:
        return {"where": "", "wrong": traceback.format_exc()}


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # Whatever a library prints is no answer.
        json.dump(_export(json.load(sys.stdin)), answers)
