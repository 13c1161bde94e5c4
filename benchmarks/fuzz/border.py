"""What becomes of a conf at the border: a spec that can be run, or a refusal, and how soon."""

from __future__ import annotations

import pickle
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.fuzz import places, rights
from benchmarks.fuzz.confs import SOUND
from hpo_lib import registry
from hpo_lib.deployers import Deployer
from hpo_lib.deployers.package import PackageDeployer
from hpo_lib.errors import SpecError
from hpo_lib.installation import Environment, Installation, installation_of
from hpo_lib.runs import admission
from hpo_lib.spec import Spec, load
from hpo_lib.spec.draft import draft
from hpo_lib.spec.yaml_core import dumped
from hpo_lib.spec.yaml_file import draft_of

#: A conf may take so many CPU seconds for each 256 KB, and so many whatever its size.
A_SIZE, PER_SIZE_S, START_S = 256 * 1024, 0.5, 0.25
#: So a line of a refusal begins: with the path of what is wrong.
_PATH = re.compile(r"[^:].{0,600}?: +\S")
_LONGEST, _LINES = 620, 41


@dataclass(frozen=True)
class Verdict:
    """What one conf has come to; `faults` are what must not be."""

    accepted: bool
    cpu_s: float
    size: int
    faults: tuple[str, ...] = ()

    @property
    def is_slow(self) -> bool:
        """Say whether it took more than a conf of its size may."""
        return self.cpu_s > START_S + PER_SIZE_S * max(1.0, self.size / A_SIZE)

    @property
    def cpu_per_size_s(self) -> float:
        """The CPU seconds for each 256 KB, of what is beyond the start."""
        return max(0.0, self.cpu_s - START_S) * A_SIZE / max(self.size, 1)


@cache
def folder() -> Path:
    """Make the folder of the installation that confs are judged by."""
    return Path(tempfile.mkdtemp(prefix="hpo-fuzz-"))


@cache
def variables() -> Mapping[str, str]:
    """Give the installation's variables, and make what they name."""
    (folder() / "deployment.yaml").write_text(dumped(rights.LISTS), encoding="utf-8")
    named = {"HPO_CONFIG": str(folder() / "deployment.yaml"), "HPO_HOME": str(folder())}
    return named | places.made_in(folder())


@cache
def installation() -> Installation:
    """Give an installation whose lists are closed: those of the oracle."""
    made = installation_of(Environment(folder(), variables=variables()), _deployer)
    return replace(made, backends={name: cache(one) for name, one in made.backends.items()})


def _deployer(_: Environment, spec: Spec, __: str) -> Deployer:
    """Build the one deployer that needs no Airflow."""
    if spec.deploy is None or spec.deploy.to != "package":
        raise SpecError("deploy.to: here are packages alone")
    home = installation().home
    return PackageDeployer.at(spec.name, spec.deploy.options, home, {}, python=Path(sys.executable))


def warm() -> None:
    """Import all that confs may name, so that none is charged for it."""
    for name in registry.SAMPLERS:
        registry.load("sampler", name)
    for sound in SOUND:
        judged(sound)


def admitted(given: Any) -> Spec:
    """Read a conf, or the text of a file, as `validate` does, without its net; SpecError."""
    made = draft_of(given) if isinstance(given, str) else draft(given)
    backend = made.spec.trial.backend
    found = admission.problems(made, installation(), backend=backend, by_file=True)
    return made.found(found).checked()


def judged(given: Any) -> Verdict:
    """Admit a conf, and hold what comes of it to what must hold.

    What took too long is judged twice more, and the least counts: what is slow is slow each time,
    while a process that has run other tests may collect their garbage in between, for a second.
    """
    first = _judged(given)
    if not first.is_slow:
        return first
    return min([first, _judged(given), _judged(given)], key=lambda found: found.cpu_s)


def _judged(given: Any) -> Verdict:
    size = size_of(given)
    faults: list[str] = []
    spec = None
    began = time.process_time()
    try:
        spec = admitted(given)
        spec.notes()
        _ = spec.digest
    except SpecError as error:
        faults += _wrong_refusal(str(error))
    except Exception as error:
        faults.append(f"{type(error).__name__}: {str(error)[:200]}")
    cpu_s = time.process_time() - began
    made = Verdict(spec is not None, cpu_s, size)
    if made.is_slow:
        faults.append(f"{cpu_s:.2f} s of CPU for {size:,} characters")
    if spec is not None:
        faults += _not_kept(spec)
        faults += rights.violations(spec, installation(), variables())
    return replace(made, faults=tuple(faults))


def size_of(given: Any) -> int:
    """Measure a conf; one that is nested too deep for that counts as small."""
    try:
        return len(pickle.dumps(given))
    except RecursionError:
        return 1


def _wrong_refusal(said: str) -> list[str]:
    lines = said.split("\n")
    wrong = [f"no path: {line[:200]!r}" for line in lines if not _PATH.match(line)]
    wrong += [f"{len(line)} characters: {line[:80]}…" for line in lines if len(line) > _LONGEST]
    wrong += [f"not printable: {line[:200]!r}" for line in lines if not line.isprintable()]
    return [*wrong, f"{len(lines)} lines"] if len(lines) > _LINES else wrong


def _not_kept(spec: Spec) -> list[str]:
    """Say so if the spec is another one when it is read again."""
    try:
        same = load(spec.dump()).digest == spec.digest
    except Exception as error:
        return [f"not read again: {type(error).__name__}: {str(error)[:200]}"]
    return [] if same else ["read again it is another one"]
