"""What an attempt shows while it runs: read now and then by the collector that will read its end.

An attempt that shows nothing new for long is ended. Else only a scheduler that watches trials
decides anything by it (`hpo_lib.trials.judging`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile

from hpo_lib.backends import Backend
from hpo_lib.collectors import Source
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Observation
from hpo_lib.files.places import tail
from hpo_lib.records import Attempt
from hpo_lib.records.shown import Shown
from hpo_lib.registry import load as load_part
from hpo_lib.search.scheduling import watches
from hpo_lib.spec import Spec
from hpo_lib.store import Store
from hpo_lib.trials.last_words import last_line
from hpo_lib.trials.outcome import collected
from hpo_lib.words import duration

#: Between two looks at files of this machine or for a scheduler that watches, and at what lies
#: elsewhere.
_LOOK_S, _AFAR_S = 5.0, 15.0
#: A look is followed by a pause of so many times its CPU time, and its own time, up to a limit.
_TIMES_CPU, _TIMES, _LONGEST_S = 33, 5, 300.0
#: Between two times that people are told what an attempt shows.
_TELL_S = 30.0
_TAIL_BYTES = 8_192
#: Is told what an attempt has shown last.
Tell = Callable[[Shown], None]


def to_nobody(_: Shown) -> None:
    """Tell nobody."""


class Silence:
    """For how long an attempt has shown nothing new, by a clock that does not run in its sleep."""

    def __init__(self, limit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        """Begin to count."""
        self._limit_s, self._now = limit_s, now
        self._mark: object = None
        self._since = now()

    def lasts(self, mark: object) -> bool:
        """Say whether the same mark has been seen for too long; of None there is no too long."""
        now = self._now()
        if mark is None or mark != self._mark:
            self._mark, self._since = mark, now
        return now - self._since > self._limit_s


class Live:
    """One running attempt: what it has shown, and its end if that has been nothing for long."""

    def __init__(
        self,
        store: Store,
        spec: Spec,
        attempt: Attempt,
        backend: Backend,
        emit: Callable[[str], None],
        tell: Tell = to_nobody,
    ) -> None:
        """Have seen nothing yet."""
        self._store, self.spec, self._attempt, self._backend = store, spec, attempt, backend
        self._emit, self._tell, self._told_at = emit, tell, 0.0
        self._copying: Iterator[None] | None = None
        self._shown: Sequence[Observation] = ()
        self._silence = Silence(spec.trial.stalled_after_s or float("inf"))
        self._said = self._why = ""
        self.ended: Exit | None = None

    def watch(self, over: threading.Event) -> None:
        """Look now and then until it is over."""
        afar = "://" in str(self._attempt.handle.get("output", ""))
        afar = afar or hasattr(self._backend, "copying")
        least_s = pause_s = _AFAR_S if afar and not watches(self.spec) else _LOOK_S
        while self.ended is None and not over.wait(pause_s):
            began, used = time.monotonic(), time.thread_time()
            self._look_or_say()
            cpu_s, took_s = time.thread_time() - used, time.monotonic() - began
            pause_s = min(max(least_s, _TIMES_CPU * cpu_s, _TIMES * took_s), _LONGEST_S)

    def look(self) -> None:
        """Read what it has shown, keep and tell what is new, and end it if nothing has been."""
        self._bring()
        collector = load_part("collector", self.spec.metrics.collector)(self.spec.metrics)
        source = replace(source_of(self._backend, self._attempt), growing=True)
        shown, _, _ = collected(self.spec, collector, source)
        if list(shown) != list(self._shown):
            self._keep(shown)
        log = self._backend.log(self._attempt.handle)
        mark = (log.stat().st_size, len(shown), list(shown[-1:])) if log.exists() else None
        limit_s = self.spec.trial.stalled_after_s
        if self._silence.lasts(mark) and limit_s is not None:
            self._why = _stalled(limit_s, tail(log, _TAIL_BYTES))
        if self._why:
            self._end()

    def end(self, found: Exit) -> Exit:
        """Give the attempt's end: it has stalled, unless it has ended well before it was ended."""
        if self.ended is None or (found.ending is Ending.EXITED and found.code == 0):
            return found
        return replace(self.ended, code=found.code)

    def _bring(self) -> None:
        """Have a backend that keeps its logs elsewhere copy what is new."""
        if not hasattr(self._backend, "copying"):
            return
        if self._copying is None:
            self._copying = self._backend.copying(self._attempt.handle)
        try:
            next(self._copying)
        except BaseException:
            self._copying = None
            raise

    def _keep(self, shown: Sequence[Observation]) -> None:
        known = _alike(shown, self._shown)
        if not self._store.live.keep(self._attempt.id, shown, known=known):
            return
        self._shown = shown
        if shown and time.monotonic() - self._told_at >= _TELL_S:
            self._told_at = time.monotonic()
            self._tell(Shown.of(shown))

    def _end(self) -> None:
        self._emit(f"trial {self._attempt.trial} is ended: {self._why}")
        self._backend.stop(self._attempt.handle)
        self.ended = Exit(Ending.STALLED, detail=self._why)

    def _look_or_say(self) -> None:
        """Look, or say once why not. Who cannot look has not seen an attempt show nothing."""
        try:
            self.look()
        except Exception as error:
            self._silence.lasts(None)
            said = f"what trial {self._attempt.trial} shows cannot be read or kept, yet: {error}"
            if said != self._said:
                self._said = said
                self._emit(said)


@contextmanager
def watched(live: Live) -> Iterator[Live]:
    """Have another thread look at an attempt, as long as somebody waits for its end."""
    over = threading.Event()
    watcher = threading.Thread(target=live.watch, args=(over,), daemon=True)
    watcher.start()
    try:
        yield live
    finally:
        over.set()
        watcher.join()


def source_of(backend: Backend, attempt: Attempt) -> Source:
    """Say where an attempt's log and output are."""
    return Source(log=backend.log(attempt.handle), output=backend.output(attempt.handle))


def _alike(one: Sequence[Observation], other: Sequence[Observation]) -> int:
    """Count how many observations two series have in common from their beginning."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _stalled(limit_s: float, log: bytes) -> str:
    last = last_line(log.decode(errors="replace"))
    said = f"its last line was: {last}" if last else "it has printed nothing"
    return f"nothing printed, and no metric, for {duration(limit_s)} (stalled_after); {said}"
