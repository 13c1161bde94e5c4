"""What the pods of an attempt print, on its way here: a file for each container, then one log."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from hpo_lib.backends.pods import Json, server, state_of
from hpo_lib.files.lines import Growing

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

_TAIL = 1 << 14


@dataclass(frozen=True, slots=True)
class _Tail:
    """A container's log that is being copied."""

    lines: Growing
    copying: Thread


@dataclass(frozen=True, slots=True)
class PodLogs:
    """The copies in a folder: `.live` of what is followed, `.txt` of what has ended."""

    folder: Path
    tails: dict[str, _Tail] = field(default_factory=dict)

    def watch(self, client: CoreV1Api, pod: Json, container: str) -> None:
        """Start to copy what a container prints; again, if the copy broke off while it runs."""
        file = self._file(pod, container).with_suffix(".live")
        tail = self.tails.get(file.name)
        cut_off = tail and not tail.copying.is_alive() and "running" in state_of(pod, container)
        if tail is not None and not cut_off:
            return
        said = max(0, _size(file) - _TAIL)
        copying = Thread(
            target=partial(_copy, client, pod, container, file, follow=True), daemon=True
        )
        self.tails[file.name] = _Tail(tail.lines if tail else Growing(file, said), copying)
        copying.start()

    def lines(self, wait_s: float, *, last: bool) -> Iterator[str]:
        """Yield new lines of all watched containers, after up to `wait_s` for copies to end."""
        end = time.monotonic() + wait_s
        for tail in self.tails.values():
            tail.copying.join(max(0.0, end - time.monotonic()))
            yield from tail.lines.new(last=last)

    def fetch(self, client: CoreV1Api, pod: Json, container: str) -> None:
        """Copy all that a container has printed, if it can still be read."""
        file = self._file(pod, container)
        if _copy(client, pod, container, file.with_suffix(".part")):
            file.with_suffix(".part").replace(file)

    def put_together(self, log: Path) -> None:
        """Write one log from the longest copy of each container, in the pods' order."""
        names = sorted({file.with_suffix("") for file in self.folder.glob("*.*")})
        if not names:
            return
        whole = log.with_suffix(".part")
        with whole.open("wb") as out:
            for name in names:
                with max(name.parent.glob(f"{name.name}.*"), key=_size).open("rb") as kept:
                    shutil.copyfileobj(kept, out)
        whole.replace(log)

    def _file(self, pod: Json, container: str) -> Path:
        """Name the file for what a container prints: one per restart, sorted in the pods' order."""
        listed = pod["status"].get("containerStatuses", [])
        again = sum(one.get("restartCount", 0) for one in listed if one["name"] == container)
        when = "".join(char for char in pod["metadata"]["creationTimestamp"] if char.isdigit())
        return self.folder / f"{when}-{pod['metadata']['name']}-{again}.txt"


def _copy(
    client: CoreV1Api, pod: Json, container: str, file: Path, *, follow: bool = False
) -> bool:
    """Write what a pod's container prints to a file; say whether there was a log to read.

    With `follow`, trouble ends the copy quietly: `watch` starts it again.
    """
    from kubernetes.client.exceptions import ApiException

    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    with server(), suppress(*([Exception] if follow else [])):
        try:
            response = client.read_namespaced_pod_log(
                name, namespace, container=container, follow=follow, _preload_content=False
            )
        except ApiException as error:
            if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):
                return False
            raise
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with file.open("wb") as kept:
            for chunk in response.stream(1 << 16):
                kept.write(chunk)
                kept.flush()
    return True


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
