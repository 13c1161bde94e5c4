"""What the pods of an attempt print, on its way here: a file for each container, then one log.

The API server gives only the newest part of a log (10 MiB, unless the kubelet was told otherwise).
So a log is followed while its pod runs, and what comes is kept; what did not come is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from hpo_lib.backends import INCOMPLETE, MAX_LOG_BYTES, log_too_large
from hpo_lib.backends.kept_log import MISSING, Heads, news, plain, taken_over, when, whole_lines
from hpo_lib.backends.pods import Json, server, state_of
from hpo_lib.core.ending import Exit
from hpo_lib.files.lines import Growing

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

_TAIL, _CHUNK = 1 << 14, 1 << 16
_LONGEST = 2_000
#: For the copies of logs when an attempt has ended; between two looks at one that goes on.
LATE_S, _POLL_S = 15.0, 1.0
#: To connect, and to wait for more: a log that says nothing for long is asked for anew, as some
#: nodes go on following a file that they have turned over.
_PATIENCE_S = (30.0, 120.0)


@dataclass(frozen=True, slots=True)
class _Tail:
    """A container's log that is being copied."""

    lines: Growing
    copying: Thread


@dataclass(frozen=True, slots=True)
class PodLogs:
    """The kept logs in a folder, `.log` each; `incomplete` lies there if something is missing.

    `_taken` names those that nobody else has written since we began to.
    """

    folder: Path
    tails: dict[str, _Tail] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, handle: Mapping[str, Any]) -> PodLogs:
        """Give those of an attempt."""
        return cls(Path(handle["folder"]) / "pods")

    @property
    def end(self) -> Exit | None:
        """The end of an attempt that has printed more than is kept."""
        return log_too_large(sum(_size(file) for file in self.folder.glob("*.log")))

    def watch(self, client: CoreV1Api, pod: Json, container: str) -> None:
        """Start to copy what a container prints; again, if the copy broke off while it runs."""
        file = self._file(pod, container)
        tail = self.tails.get(file.name)
        cut_off = tail and not tail.copying.is_alive() and "running" in state_of(pod, container)
        if tail is not None and not cut_off:
            return
        said = max(0, _size(file) - _TAIL)
        copying = Thread(target=partial(self._quietly, client, pod, container), daemon=True)
        self.tails[file.name] = _Tail(tail.lines if tail else Growing(file, said), copying)
        copying.start()

    def lines(self, wait_s: float, *, last: bool) -> Iterator[str]:
        """Yield new lines of all watched containers, after up to `wait_s` for copies to end."""
        end = time.monotonic() + wait_s
        for tail in self.tails.values():
            tail.copying.join(max(0.0, end - time.monotonic()))
            yield from (_timed(line)[1] for line in tail.lines.new(last=last))

    def printed(self, client: CoreV1Api, pod: Json, container: str) -> Iterator[str]:
        """Copy what a container prints, and yield its new lines, short, each with its time."""
        file = self._file(pod, container)
        lines, at = Growing(file, whole_lines(file)), ""
        copying, going = self._copied(client, pod, container, follow=True), True
        while going:
            going = next(copying, False)
            for line in lines.new(last=not going):
                own, text = _timed(line)
                at = own or at
                if at:
                    yield f"{at} {text[:_LONGEST]}"

    def fetch(self, client: CoreV1Api, pod: Json, container: str) -> None:
        """Copy what is new of all that a container has printed, if it can still be read."""
        with server():
            for _ in self._copied(client, pod, container):
                pass
        earlier = range(_restarts(pod, container))
        if not all(self._file(pod, container, again).exists() for again in earlier):
            self._miss()

    def put_together(self, log: Path) -> None:
        """Write one log of all that is kept, in the pods' order; INCOMPLETE is its first line."""
        names = sorted(self.folder.glob("*.log"))
        if not names:
            return
        whole = log.with_suffix(".part")
        with whole.open("wb") as out:
            if self._missing.exists():
                out.write(f"{INCOMPLETE}\n".encode())
            for name in names:
                with name.open("rb") as kept:
                    out.writelines(plain(kept))
        whole.replace(log)

    def _quietly(self, client: CoreV1Api, pod: Json, container: str) -> None:
        """Copy what a container prints; trouble ends that: `watch` starts it again."""
        with suppress(Exception):
            for _ in self._copied(client, pod, container, follow=True):
                pass

    def _copied(
        self, client: CoreV1Api, pod: Json, container: str, *, follow: bool = False
    ) -> Iterator[bool]:
        """Append what is new of a container's log to its file; yields whenever something came."""
        file = self._file(pod, container)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        mark = taken_over(file, alone=file.name in self._taken)
        self._taken.add(file.name)
        log = None if _size(file) > MAX_LOG_BYTES else _opened(client, pod, container, follow)
        if log is None:
            return
        heads = Heads(log.stream(_CHUNK))
        with file.open("ab") as kept:
            for chunk in news(mark, heads, _began(pod, container), datetime.now(UTC)):
                if chunk.endswith(MISSING):
                    self._miss()
                kept.write(chunk)
                kept.flush()
                yield True
                if kept.tell() > MAX_LOG_BYTES:
                    return

    @property
    def _missing(self) -> Path:
        return self.folder / "incomplete"

    def _miss(self) -> None:
        self._missing.touch()

    def _file(self, pod: Json, container: str, again: int | None = None) -> Path:
        """Name the file for what a container prints: one per restart, sorted in the pods' order."""
        again = _restarts(pod, container) if again is None else again
        when = "".join(char for char in pod["metadata"]["creationTimestamp"] if char.isdigit())
        return self.folder / f"{when}-{pod['metadata']['name']}-{again}.log"


def followed(
    logs: PodLogs, client: CoreV1Api, look: Callable[[], tuple[Exit | None, list[tuple[Json, str]]]]
) -> Iterator[str | Exit]:
    """Yield the lines of an attempt's pods as they come, and last its Exit.

    `look` gives the Exit, if there is one, and the pods that have begun, with their container.
    """
    while True:
        found, begun = look()
        found = logs.end or found
        for pod, container in begun:
            logs.watch(client, pod, container)
        yield from logs.lines(LATE_S if found else 0.0, last=found is not None)
        if found is not None:
            yield found
            return
        time.sleep(_POLL_S)


def joined(logs: PodLogs, log: Path, ask: Callable[[], object]) -> Iterator[None]:
    """Put together, at each step, what somebody else copies from an attempt's running pods.

    `ask` raises an error while the cluster is out of reach: then no line can come.
    """
    while True:
        with server():
            ask()
        logs.put_together(log)
        yield


def _opened(client: CoreV1Api, pod: Json, container: str, follow: bool) -> Any:
    """Ask for a container's log with times; None if there is none, or none yet."""
    from kubernetes.client.exceptions import ApiException

    named = pod["metadata"]["name"], pod["metadata"]["namespace"]
    how = {"timestamps": True, "_preload_content": False, "_request_timeout": _PATIENCE_S}
    try:
        return client.read_namespaced_pod_log(*named, container=container, follow=follow, **how)
    except ApiException as error:
        if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):
            return None
        raise


def _timed(line: str) -> tuple[str, str]:
    """Part a line from its time; without one it is the end of a long line."""
    at, _, text = line.partition(" ")
    return (at, text) if when(f"{at} ".encode()) else ("", line)


def _restarts(pod: Json, container: str) -> int:
    listed = pod["status"].get("containerStatuses", [])
    return sum(one.get("restartCount", 0) for one in listed if one["name"] == container)


def _began(pod: Json, container: str) -> datetime | None:
    state = state_of(pod, container)
    said = (state.get("running") or state.get("terminated") or {}).get("startedAt")
    return datetime.fromisoformat(said) if said else None


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
