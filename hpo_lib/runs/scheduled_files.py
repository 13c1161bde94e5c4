"""Files in config/experiments that ask for a DAG of their own, and the runs of these DAGs.

Every parse of the DAG file imports this module, so heavy imports are inside functions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.core.teams import within
from hpo_lib.errors import NotFound, SpecError
from hpo_lib.records import Provenance, Run, RunKey, RunStatus
from hpo_lib.runs.shape import needs_slots
from hpo_lib.search import engine
from hpo_lib.spec import Draft, Spec
from hpo_lib.spec.yaml_file import draft_file
from hpo_lib.validation import reading, refusal, shown, told

if TYPE_CHECKING:
    from hpo_lib.installation import Installation
    from hpo_lib.store import Store

PREFIX = "hpo_scheduled_"
SUFFIXES = (".yaml", ".yml")
#: Runs of more waves are in slots: Airflow's scheduler would look long at a DAG of so many tasks.
MAX_WAVES = 40
_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True, slots=True)
class ScheduledFile:
    """A file's DAG: the spec that it runs, or what is wrong with the file."""

    dag_id: str
    name: str
    spec: Spec | None = None
    error: str = ""
    team: str = ""

    @property
    def waves(self) -> int | None:
        """Count the waves of its DAG, 0 if the file is broken; None if the DAG has slots."""
        if self.spec is not None and needs_slots(self.spec, MAX_WAVES):
            return None
        return engine.waves(self.spec) if self.spec else 0

    def broken(self, error: str) -> ScheduledFile:
        """Give the same file with an error in place of its spec."""
        return ScheduledFile(self.dag_id, self.name, error=error, team=self.team)


def scheduled_files(
    folder: Path, dag_id: str | None = None, teams: Iterable[str] = ()
) -> Iterator[ScheduledFile]:
    """Read the files that ask for a DAG and those that cannot be read; all, or one DAG's.

    A team's files are in the folder of its name. A broken file gives a broken DAG: what is wrong
    with a file is never raised.
    """
    for team in ("", *teams):
        for name, paths in sorted(_by_dag(folder, team).items()):
            if dag_id in (None, name):
                found = _read(name, paths, team)
                if found is not None:
                    yield found


def _by_dag(folder: Path, team: str = "") -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    place = folder / team
    if team and not place.is_dir():
        return found
    for path in sorted(place.iterdir()):
        if path.suffix in SUFFIXES and not path.name.startswith(".") and not path.is_dir():
            found.setdefault(dag_id_of(path, team), []).append(path)
    return found


def dag_id_of(path: Path, team: str = "") -> str:
    """Name a file's DAG by team and stem; what does not fit into a name is replaced."""
    if _STEM.fullmatch(path.stem):
        return PREFIX + within(team, path.stem)
    mark = hashlib.sha256(path.stem.encode(errors="surrogateescape")).hexdigest()[:6]
    return PREFIX + within(team, re.sub(r"[^A-Za-z0-9_-]", "_", path.stem)[:60] + f"-{mark}")


def _read(dag_id: str, paths: Sequence[Path], team: str) -> ScheduledFile | None:
    path = paths[0]
    made = ScheduledFile(dag_id, str(Path(team, _shown(path))), team=team)
    if len(paths) > 1:
        names = " and ".join(_shown(one) for one in paths)
        return made.broken(f"{names} ask for one DAG, {dag_id}: rename one of them")
    if not path.is_file():
        return made.broken("must be a file that can be read")
    try:
        with reading():
            found = draft_file(path)
            spec = found.found(problems(path, found)).checked()
    except SpecError as error:
        return made.broken(str(error))
    except Exception as error:
        return made.broken(f"{type(error).__name__}: {error}")
    return None if spec.schedule is None else replace(made, spec=spec)


def asks(found: Draft) -> bool:
    """Say whether a file asks for a DAG of its own, even with a schedule that is wrong."""
    return found.spec.schedule is not None or not found.sound("schedule")


def problems(path: Path, found: Draft) -> Iterator[str]:
    """Yield why a file cannot have a DAG, if it asks for one."""
    if not asks(found):
        return
    if not _STEM.fullmatch(path.stem):
        yield (
            "the file's name must be letters, digits, _ and -, at most 100, beginning with a "
            f"letter or digit, got {_shown(path)}"
        )
    if not found.sound("limits.max_trials", "limits.parallel_trials", "scheduler", "objective"):
        return
    yield from told(engine.waves, found.spec)


def _shown(path: Path) -> str:
    return path.name.encode(errors="backslashreplace").decode()


def begin(
    store: Store,
    key: RunKey,
    file: ScheduledFile,
    conf: Mapping[str, Any] | None,
    installation: Installation,
    *,
    triggered_by: str,
    provenance: Provenance,
) -> Run:
    """Start a run of the file's spec, or give the one started before, whatever the file says now.

    A broken file is refused, and so is any conf. The installation's bounds on waves and parallel
    trials are for conf-triggered DAGs and do not hold here: this DAG was built for the spec.
    """
    from hpo_lib.runs import admission

    known = begun(store, key)
    if known is not None:
        return known
    spec, refused = file.spec, _refusal(file, conf)
    if refused or spec is None:
        by = {"triggered_by": triggered_by, "way": provenance.way}
        store.refuse_run(key, refused, team=installation.team, **by)
        raise SpecError(refused)
    spec = spec.unscheduled()
    return admission.begin(
        store,
        key,
        spec.dump(),
        installation,
        backend=spec.trial.backend,
        triggered_by=triggered_by,
        provenance=replace(provenance, file=file.name),
        by_file=True,
    )


def begun(store: Store, key: RunKey) -> Run | None:
    """Give the run that was started with this key; None if there is none, or only a refusal."""
    try:
        run = store.run(key)
    except NotFound:
        return None
    return None if run.status is RunStatus.REFUSED else run


def _refusal(file: ScheduledFile, conf: Mapping[str, Any] | None) -> str:
    if file.error:
        return "\n".join(f"{file.name}: {line}" for line in file.error.splitlines())
    if conf:
        keys = ", ".join(sorted(map(str, conf)))
        told = (
            f"conf: must be empty, for this DAG runs {file.name} as it is; a conf of your own "
            f"is for hpo_local and its like, got the keys {shown(keys)}"
        )
        return str(refusal([told]))
    return ""


def strayed_final(run: Run, file: ScheduledFile) -> str | None:
    """Say why the DAG of the file as it is now cannot train a run's winner; None if it need not."""
    if run.spec.final is None:
        return None
    if file.spec is None or file.spec.final is None:
        return f"{file.name} asks for no final training any more"
    return _moved(file, run.spec.for_final, file.spec.for_final)


def _moved(file: ScheduledFile, before: Spec, now: Spec) -> str | None:
    mine, its = before.trial.backend, now.trial.backend
    if mine == its:
        return None
    return f"{file.name} was changed to backend {its} while it ran on {mine}"


def strayed(run: Run, file: ScheduledFile) -> str | None:
    """Say why the DAG of the file as it is now cannot see a run through; None if it can.

    A run keeps its spec, but its tasks are those that the DAG has now.
    """
    if file.spec is None:
        return f"{file.name} has become unreadable while it ran: {file.error}"
    spec = run.spec
    if moved := _moved(file, spec, file.spec):
        return moved
    if file.waves is not None and spec.mode == "async":
        return f"{file.name} was changed while it ran, its DAG has no slots any more"
    if file.waves is not None and engine.waves(spec) > file.waves:
        return (
            f"{file.name} was changed while it ran, its DAG has {file.waves} waves by now, "
            f"and this run needs {engine.waves(spec)}"
        )
    return None


def orphaned(run: Run, folder: Path) -> str | None:
    """Say why Airflow has no DAG any more for the run of a file; None if it has one.

    Also None if the folder itself is missing: then nothing is known.
    """
    file = run.provenance.file
    if file is None or not folder.is_dir():
        return None
    teams = [run.team] if run.team else []
    if next(scheduled_files(folder, run.key.dag_id, teams), None) is not None:
        return None
    if run.key.dag_id in _by_dag(folder, run.team):
        return f"{file} has no schedule any more"
    return f"{file} was removed while it ran"
