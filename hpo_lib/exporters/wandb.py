"""Weights & Biases' offline folder: a run of theirs per trial, which `wandb sync` uploads.

    FOLDER/wandb/offline-run-20310506_070809-STORE-12-3-0a1b2c3d/run-STORE-12-3-0a1b2c3d.wandb

Their own library cannot write what has already happened: in offline mode, too, a run starts when it
is written, so that no trial would take any time. It also looks up W&B's server (0.31: telemetry,
unless the environment says otherwise), and needs a helper process and 60 MB. So the files are
written here: records as in wandb/proto/wandb_internal.proto, framed as in LevelDB's log. Whoever
uploads needs the library.

What is uploaded cannot be taken back, and uploading a run again appends its curves to those that
are there (0.31). So a trial that goes on lies in `going-run-…`, which `wandb sync` leaves alone;
one that has not changed keeps its folder, with the mark that it was uploaded; and a run's id ends
in a digest of what is in it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.core.trial import Origin, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.exporters import Exported, Series, results_of
from hpo_lib.exporters.protobuf import counted, text, whole
from hpo_lib.files import artifacts
from hpo_lib.records import RunView, TrialView
from hpo_lib.words import utc

if TYPE_CHECKING:
    from typing_extensions import TypeIs

#: What a file begins with: a name, a magic number, a version.
_BEGIN = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
#: How LevelDB cuts a log: blocks, in which a record may begin, go on and end.
_BLOCK, _HEAD = 32_768, 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
#: Kinds of records, and the oldest release that reads them.
_HISTORY, _SUMMARY, _RUN, _EXIT, _HEADER = 2, 3, 17, 18, 21
_OLDEST = "0.70.0"
#: What W&B takes of a name, and what no project may have in it.
_LONGEST, _NO_PROJECT = 128, re.compile(r"[/\\#?%:]")
_LONGEST_TAG = 64
_EXITS = {TrialState.COMPLETE: 0, TrialState.STOPPED: 0, TrialState.FAILED: 1}


class WandbExporter:
    """Writes below a folder; `cd FOLDER && wandb sync` uploads what is new."""

    def __init__(self, target: str) -> None:
        """Take the folder."""
        self._folder = Path(target).absolute()
        if self._folder.is_file():
            raise SpecError(f"wandb: must be a folder, got the file {target}")

    def export(self, run: Exported) -> str:
        """Write a run of W&B for each trial that is not there as it is now."""
        for one, series in run.trials():
            self._write(_Trial.of(run.view, one, series))
        return f"group {_group(run.view)} in {self._folder}: cd {self._folder} && wandb sync"

    def _write(self, trial: _Trial) -> None:
        name, records = trial.named()
        folder = self._folder / "wandb" / f"{trial.kind}-run-{trial.second}-{name}"
        for old in folder.parent.glob(f"*-run-????????_??????-{trial.key}-????????"):
            if old != folder:
                artifacts.delete(old)
        place = folder / f"run-{name}.wandb"
        if not place.exists():
            folder.mkdir(parents=True, exist_ok=True)
            artifacts.write(place, log(records))


@dataclass(frozen=True, slots=True)
class _Trial:
    """A trial on its way to W&B; times are in seconds of the epoch."""

    view: RunView
    one: TrialView
    series: Series
    began: float
    ended: float

    @classmethod
    def of(cls, view: RunView, one: TrialView, series: Series) -> _Trial:
        """Find out from when to when it ran."""
        starts = [utc(each.started_at) for each in one.attempts]
        began = min(starts, default=utc(view.run.started_at)).timestamp()
        ends = [utc(each.ended_at).timestamp() for each in one.attempts if each.ended_at]
        seen = [each.time for curve in series.values() for each in curve if _is_known(each.time)]
        return cls(view, one, series, began, max([*ends, *seen, began]))

    @property
    def key(self) -> str:
        """Name the trial among those of all stores."""
        store = self.view.run.provenance.store or "store"
        return f"{store}-{self.view.run.id}-{self.one.trial.number}"

    @property
    def kind(self) -> str:
        return "offline" if self.one.trial.state in _EXITS else "going"

    @property
    def second(self) -> str:
        return f"{datetime.fromtimestamp(self.began, UTC):%Y%m%d_%H%M%S}"

    def named(self) -> tuple[str, list[bytes]]:
        """Give the id, and the records of which it is made."""
        about, rest = self._run(), list(self._history())
        digest = hashlib.sha256(about + b"".join(rest)).hexdigest()[:8]
        name, release = f"{self.key}-{digest}", text(1, "hpo") + text(2, _OLDEST)
        begin = [counted(_HEADER, counted(1, release)), counted(_RUN, text(1, name) + about)]
        return name, [*begin, *rest]

    def _history(self) -> Iterator[bytes]:
        """Give the records of the steps, of what it has come to, and of its end."""
        last: dict[str, Any] = {}
        for step, row in self._rows():
            last |= row
            items = b"".join(counted(1, _item(name, value)) for name, value in row.items())
            yield counted(_HISTORY, items + counted(2, whole(1, step)))
        took = self.ended - self.began
        last |= {"_runtime": took, "_wandb": {"runtime": int(took)}}
        last |= results_of(self.view, self.one)
        updates = (counted(1, _item(name, value)) for name, value in last.items())
        yield counted(_SUMMARY, b"".join(updates))
        if (code := _EXITS.get(self.one.trial.state)) is not None:
            yield counted(_EXIT, whole(1, code) + whole(2, int(took)))

    def _run(self) -> bytes:
        """Say what it is, but for the id."""
        trial, run = self.one.trial, self.view.run
        kind = "final trial" if trial.origin is Origin.FINAL else "trial"
        config = {"_wandb": {}, **trial.params}
        items = (counted(1, text(1, name) + _value(value)) for name, value in config.items())
        said = {
            3: _NO_PROJECT.sub("-", run.experiment or "hpo")[:_LONGEST],
            6: _group(self.view),
            7: kind,
            8: f"{kind} {trial.number}",
            9: trial.reason or "",
        }
        fields = b"".join(text(number, word) for number, word in said.items())
        tags = b"".join(text(10, tag[:_LONGEST_TAG]) for tag in self._tags())
        seconds, part = divmod(round(self.began * 1e6), 1_000_000)
        start = whole(1, seconds) + whole(2, part * 1_000)
        return fields + tags + counted(4, b"".join(items)) + counted(17, start)

    def _tags(self) -> Iterable[str]:
        trial = self.one.trial
        return (str(trial.state), str(trial.origin), *([str(trial.cause)] if trial.cause else []))

    def _rows(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Give what was reported of each step, with when that was."""
        rows: dict[int, dict[str, Any]] = defaultdict(dict)
        times: dict[int, float] = {}
        for name, curve in self.series.items():
            for seen in curve:
                step = seen.step or 0
                rows[step][name] = seen.value
                if _is_known(seen.time):
                    times[step] = max(times.get(step, self.began), seen.time)
        now = self.began
        for step in sorted(rows):
            now = max(now, times.get(step, now))
            own = {"_step": step, "_timestamp": now, "_runtime": now - self.began}
            yield step, rows[step] | own


def _is_known(time: float | None) -> TypeIs[float]:
    return time is not None and math.isfinite(time)


def _group(view: RunView) -> str:
    run = f"/run-{view.run.id}"
    return f"{(view.run.experiment or 'hpo')[: _LONGEST - len(run)]}{run}"


def _item(name: str, value: Any) -> bytes:
    """Make an entry of a history or a summary, whose name is never taken apart at its dots."""
    return text(2, name) + _value(value)


def _value(value: Any) -> bytes:
    return text(16, json.dumps(value))


def log(records: Iterable[bytes]) -> bytes:
    """Put records into a file, each with its number."""
    made = bytearray(_BEGIN)
    for number, record in enumerate(records, 1):
        content = memoryview(whole(1, number) + record)
        kinds = (_FULL, _FIRST)
        while True:
            room = _BLOCK - len(made) % _BLOCK
            if room < _HEAD:
                made += bytes(room)
                continue
            part, content = content[: room - _HEAD], content[room - _HEAD :]
            kind = kinds[1] if content else kinds[0]
            head = bytes([kind])
            made += struct.pack("<IH", zlib.crc32(part, zlib.crc32(head)), len(part)) + head + part
            if not content:
                break
            kinds = (_LAST, _MIDDLE)
    return bytes(made)
