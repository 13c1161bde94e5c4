"""Backends: where an attempt runs. One file each, one row each in `hpo_lib.registry`.

A small one, which runs what the local backend runs, under `nice`:

    @dataclass(frozen=True)
    class NiceBackend(LocalBackend):
        level: int = 10

        @classmethod
        def at(cls, site):
            level = site.rules("nice", NiceRules).level
            return dataclasses.replace(super().at(site), level=level)

        def submit(self, handle, request):
            command = ["nice", "-n", str(self.level), *request.command]
            super().submit(handle, dataclasses.replace(request, command=command))

With `HPO_BACKENDS=nice=package.module:NiceBackend` Airflow has a DAG `hpo_nice`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

from hpo_lib.core.ending import Ending, Exit
from hpo_lib.files.artifacts import Offers, kept_at, write
from hpo_lib.files.places import Place, below, opened, reaching
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import Strict

_Rules = TypeVar("_Rules", bound=Strict)
#: Where a container leaves the JSON that it returns, as Airflow's users know it.
RETURNED = "/airflow/xcom/return.json"
#: An attempt may print this much; one that prints more is ended.
MAX_LOG_BYTES = 2**30
#: The first line of a log in which something may be missing.
INCOMPLETE = (
    "[hpo] this log may be incomplete: a node keeps only the newest part of what a container "
    "prints, and nobody read in time what came before"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What to run: pure code builds it, a backend sends it. None means no limit.

    Without `command` an image runs its own, followed by `args`. `start_timeout_s` is how long the
    attempt may wait for a place and its image; `spot` asks for capacity that may be taken away.
    `resume_from` is a folder, or a URI, that the attempt has to be able to read. `returns` says
    that its metrics are the JSON that its container leaves in RETURNED. An attempt that is
    `taken_over` was to be begun by an earlier task. `dir` is where a program on a worker runs,
    `python` the interpreter of its own, both relative to the folder of local trials. One that is
    stopped has `stop_grace_s` to end by itself, None for as long as its backend gives.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    timeout_s: float
    memory_bytes: int | None = None
    args: Sequence[str] = ()
    image: str | None = None
    cpu: float | None = None
    gpu: int = 0
    start_timeout_s: float = 900.0
    spot: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    resume_from: str | None = None
    returns: bool = False
    taken_over: bool = False
    dir: str | None = None
    python: str | None = None
    stop_grace_s: float | None = None


class NoOptions(Strict):
    """`trial.options` of backends that have none."""


@dataclass(frozen=True, slots=True)
class AttemptName:
    """The facts that name an attempt, and by which it is found again.

    `store` tells attempts of equal numbers apart, `run` is the name of the run's folder, `options`
    are the spec's, `artifacts` is the URI where the spec wants what this attempt leaves, for
    backends that share no disk with us.
    """

    store: str
    run: str
    trial: int
    attempt: int
    options: Mapping[str, Any] = field(default_factory=dict)
    artifacts: str | None = None

    def folder(self, home: Path) -> Path:
        """Give the attempt's own folder below a home."""
        own = f"attempt-{self.attempt}-{self.store[:6]}"
        return home / "runs" / self.run / f"trial-{self.trial:04d}" / own

    def text(self, longest: int = 255) -> str:
        """Write it as one word, such as `hpo-1a2b3c-000012-digits-0003-1`."""
        tail = f"-{self.trial:04d}-{self.attempt}"
        head = f"hpo-{self.store[:6]}-{self.run}"[: longest - len(tail)]
        return head.rstrip("-") + tail


@dataclass(frozen=True, slots=True)
class Found:
    """Something that runs, or is kept, for an attempt."""

    run: int
    trial: int
    attempt: int
    handle: Mapping[str, Any]

    @classmethod
    def labelled(cls, labels: Mapping[str, str], prefix: str, handle: Mapping[str, Any]) -> Found:
        """Read the numbers from labels such as those of a Request, with a prefix."""
        run, trial, attempt = (int(labels[prefix + name]) for name in ("run", "trial", "attempt"))
        return cls(run, trial, attempt, handle)


class Site(Protocol):
    """What an installation gives a backend that is built in it.

    `cluster` and `aws` make clients, so a backend calls them when it first needs one. Outside of
    Airflow, which alone knows its connections, they raise SpecError.
    """

    @property
    def home(self) -> Path:
        """The folder below which attempts keep what they print and leave."""
        ...

    @property
    def workdir(self) -> Path:
        """The folder in which programs on the workers run."""
        ...

    @property
    def roots(self) -> Sequence[Path]:
        """The folders, besides `workdir`, below which a conf may have its programs run."""
        ...

    @property
    def path(self) -> str:
        """The folders in which these programs look before the worker's own PATH."""
        ...

    @property
    def grace_s(self) -> float:
        """How long, in seconds, an attempt may run without an Airflow task that looks after it."""
        ...

    @property
    def offers(self) -> Offers:
        """The URIs below which artifacts may lie, and how to get there."""
        ...

    def rules(self, section: str, kind: type[_Rules]) -> _Rules:
        """Read a section of config/deployment.yaml, empty if it is left out; SpecError."""
        ...

    def cluster(self, connection: str | None) -> Any:
        """Make a client of Kubernetes (CoreV1Api); None stands for the worker's own cluster."""
        ...

    def aws(self, connection: str | None, region: str | None, service: str) -> Any:
        """Make a client of one of Amazon's services, such as `ecs`."""
        ...


class Backend(Protocol):
    """Every method is idempotent and may be called from a process that did not launch.

    One may have a method more, `usage(handle)`, which gives the Usage of an attempt so far. If only
    `fetch` writes the log, `copying(handle)` gives an iterator, each step of which writes what has
    been printed by then to where `log` says, while the attempt runs.
    """

    #: Whether an ended attempt's output folder can be read even if the spec has no artifacts.
    keeps_output: ClassVar[bool]
    #: What `trial.options` may hold.
    Options: ClassVar[type[Strict]]

    @classmethod
    def at(cls, site: Site) -> Self:
        """Build the backend from what the installation gives; SpecError if its rules are wrong."""
        ...

    @classmethod
    def unpinned(cls, trial: TrialSpec) -> str | None:
        """Say which image of a trial may change under the same name; None if none may.

        A trial's result is reused only if its program is known to be the same.
        """
        ...

    def permit(self, trial: TrialSpec) -> None:
        """Raise SpecError if the installation does not let a conf ask for this trial."""
        ...

    def handle(self, name: AttemptName) -> dict[str, Any]:
        """Say where an attempt is to be found: plain JSON, the same for the same name."""
        ...

    def output(self, handle: Mapping[str, Any]) -> Place:
        """Give the folder with what the attempt leaves, which it knows as HPO_OUTPUT."""
        ...

    def log(self, handle: Mapping[str, Any]) -> Path:
        """Give the file with everything the attempt printed."""
        ...

    def submit(self, handle: Mapping[str, Any], request: Request) -> None:
        """Start the attempt unless it was started before; TransientError if that fails.

        One that is `taken_over`, and of which nothing is there, may have run. It is not started:
        `poll` gives it as lost. `backends.beginning` knows which were never started.
        """
        ...

    def follow(self, handle: Mapping[str, Any]) -> Iterator[str | Exit]:
        """Wait for the end: yields lines as they are printed and, last, the Exit."""
        ...

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """Give the Exit, or None while the attempt runs."""
        ...

    def fetch(self, handle: Mapping[str, Any]) -> None:
        """Copy what an ended attempt has printed to where `log` says, unless it is there.

        What its container has returned, if it was to, goes to `return.json` in its output.
        """
        ...

    def release(self, handle: Mapping[str, Any]) -> None:
        """Let the attempt end by itself soon unless `follow` is called again, as by a retry."""
        ...

    def end(self, handle: Mapping[str, Any]) -> None:
        """Begin to end the attempt, but do not wait for its end, as `stop` does."""
        ...

    def stop(self, handle: Mapping[str, Any]) -> None:
        """End the attempt and everything it started; returns when nothing of it is left."""
        ...

    def found(self, store: str) -> Iterator[Found]:
        """Give all that runs, or is kept, for attempts of a store, whoever began them."""
        ...

    def discard(self, handle: Mapping[str, Any]) -> None:
        """Remove what an ended attempt still holds, once its outcome is in the store."""
        ...


class Remote:
    """Where an attempt's output and log are, for backends that share no disk with us."""

    keeps_output: ClassVar[bool] = False
    offers: Offers

    def output(self, handle: Mapping[str, Any]) -> Place:
        """Give what the trial knows as HPO_OUTPUT if it is a URI, else a folder beside its log."""
        return output_of(handle, self.offers)

    def log(self, handle: Mapping[str, Any]) -> Path:
        """Give the file with everything that the attempt, or its primary pods, printed."""
        return log_of(handle)


def output_of(handle: Mapping[str, Any], offers: Offers) -> Place:
    """Give where an attempt's output can be read: at its URI, else in the attempt's own folder."""
    where = str(handle.get("output", ""))
    if "://" in where:
        return kept_at(where, offers)
    return Path(handle["folder"]) / "output"


def output_within(backend: Backend, handle: Mapping[str, Any]) -> str:
    """Say where the attempt itself finds its output: HPO_OUTPUT."""
    where = str(handle.get("output", ""))
    return where if where and "://" not in where else str(backend.output(handle))


def log_of(handle: Mapping[str, Any]) -> Path:
    """Give the file with everything an attempt printed, on the worker that ran its task."""
    return Path(handle["folder"]) / "log.txt"


def incomplete(log: Place) -> str | None:
    """Say what is wrong with a log in which something may be missing; None if nothing is."""
    with opened(log) as file:
        begin = b"" if file is None else file.read(len(INCOMPLETE))
    said = INCOMPLETE.removeprefix("[hpo] this ")
    return f"its {said}" if begin.decode(errors="replace") == INCOMPLETE else None


def log_too_large(size: int) -> Exit | None:
    """Give the end of an attempt that has printed so much; None if it may."""
    if size <= MAX_LOG_BYTES:
        return None
    return Exit(Ending.LOG_TOO_LARGE, detail=f"printed more than {MAX_LOG_BYTES >> 20} MiB")


def bring(output: Place, text: str) -> None:
    """Put what a container has returned into its output, unless that holds it already."""
    place = below(output, RETURNED.rpartition("/")[2])
    with reaching(place):
        if not place.exists():
            write(place, text.encode(errors="replace"))


def keep_unstarted(handle: Mapping[str, Any], end: Exit) -> None:
    """Write down why an attempt could not start, for `unstarted` to read."""
    file = _unstarted(handle)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(file, json.dumps({"ending": end.ending, "detail": end.detail}).encode())


def unstarted(handle: Mapping[str, Any]) -> Exit | None:
    """Read why an attempt could not start; None if nothing was written down."""
    file = _unstarted(handle)
    if not file.exists():
        return None
    found = json.loads(file.read_text())
    return Exit(Ending(found["ending"]), detail=found["detail"])


def _unstarted(handle: Mapping[str, Any]) -> Path:
    return Path(handle["folder"]) / "unstarted.json"
