"""What an attempt shows while it runs, and that it counts for nothing once it has ended."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.collectors import Source
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Assignment, Cause, Observation, TrialState
from hpo_lib.errors import TransientError
from hpo_lib.records import Attempt, AttemptState, Provenance, Run, RunKey
from hpo_lib.records.shown import Shown
from hpo_lib.runs import admission, lifecycle
from hpo_lib.search.engine import Step
from hpo_lib.spec import Spec, load
from hpo_lib.store import Store, upgrade
from hpo_lib.trials import live
from hpo_lib.trials.live import Live, Silence, source_of
from hpo_lib.trials.outcome import outcome
from tests.integration.loop import Loop, quietly

CONF: dict[str, Any] = {
    "name": "iris",
    "objective": {"metric": "loss", "direction": "minimize"},
    "extra_metrics": ["auc"],
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "limits": {"max_trials": 1},
    "trial": {"command": [sys.executable, "-c", "pass"], "timeout": "1m"},
}
GOOD_END = Exit(Ending.EXITED, 0)
_NUMBERS = count()


@dataclass
class FakeBackend:
    """A fake: a log that the test writes, and the counted wish that an attempt is stopped."""

    folder: Path
    stops: list[str] = field(default_factory=list)
    away: bool = False

    def log(self, handle: Mapping[str, Any]) -> Path:
        if self.away:
            raise TransientError("out of reach")
        return self.folder / "log.txt"

    def output(self, handle: Mapping[str, Any]) -> Path:
        return self.folder / "output"

    def stop(self, handle: Mapping[str, Any]) -> None:
        self.stops.append("stop")

    def print(self, text: str) -> None:
        with (self.folder / "log.txt").open("a") as file:
            file.write(text)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'hpo.db'}"
    upgrade(url)
    with Store.open(url) as opened:
        yield opened


def spec(**trial: str) -> Spec:
    return load(CONF | {"trial": CONF["trial"] | trial})


def begun(store: Store, which: Spec) -> Attempt:
    """Begin the only attempt of a new run."""
    key = RunKey("hpo_local", f"manual__{next(_NUMBERS)}")
    run = store.start_run(key, which, triggered_by="ada", provenance=Provenance())
    store.next_batch(run.id, "wave_01", lambda _: Step([Assignment(1, {"x": 0.5})]))
    return store.open_attempt(run.id, 1, lambda _: {})


def observed(store: Store, attempt: Attempt) -> list[Observation]:
    return [seen for _, seen in store.listing.observations(attempt.run_id, 1, -1, 10_000)]


def same(one: Sequence[Observation], other: Sequence[Observation]) -> bool:
    """Compare as the store keeps them; NaN is NaN."""
    return [repr(seen[:4]) for seen in one] == [repr(seen[:4]) for seen in other]


LINES = st.one_of(
    st.tuples(st.sampled_from(["loss", "auc"]), st.sampled_from([0.5, -1.25, 3e-9, math.nan])).map(
        lambda pair: f"{pair[0]}={pair[1]!r}"
    ),
    st.integers(1, 40).map(lambda n: f"step={n} loss=0.{n} auc=0.75"),
    st.integers(1, 40).map(lambda n: f'{{"step": {n}, "loss": 0.{n}}}'),
    st.sampled_from(["Epoch 2/3", "loss=", "loss=0.5x", "1/3 - loss: 0.25\r3/3 - loss: 0.5", ""]),
)


@given(
    printed=st.lists(LINES, max_size=20).map("\n".join),
    cuts=st.lists(st.floats(0, 1), max_size=4).map(sorted),
)
def test_whoever_has_looked_and_when_the_end_is_the_same(
    store: Store, tmp_path_factory: pytest.TempPathFactory, printed: str, cuts: list[float]
) -> None:
    backend = FakeBackend(tmp_path_factory.mktemp("attempt"))
    which = spec()
    attempt, at = begun(store, which), 0
    looker = Live(store, which, attempt, backend, quietly)  # type: ignore[arg-type]
    for cut in cuts:
        backend.print(printed[at : (at := max(at, int(cut * len(printed))))])
        looker.look()
        whole = backend.folder / "whole.txt"
        whole.write_text(printed[: printed.rfind("\n", 0, at) + 1])
        so_far = outcome(which, GOOD_END, Source(whole, backend.folder / "output"))
        assert same(observed(store, attempt), so_far.observations)
    backend.print(printed[at:])
    source = source_of(backend, attempt)  # type: ignore[arg-type]
    found = outcome(which, GOOD_END, source)
    trial = store.close_attempt(attempt.id, found, final=True)
    assert same(observed(store, attempt), found.observations)
    assert (trial.value, trial.cause, trial.reason) == (found.value, found.cause, found.reason)
    looker.look()
    assert same(observed(store, attempt), found.observations)
    assert store.live.newest(attempt.run_id) == {}


def test_half_a_number_is_not_shown(store: Store, tmp_path: Path) -> None:
    backend, which = FakeBackend(tmp_path), spec()
    attempt, told = begun(store, which), []
    looker = Live(store, which, attempt, backend, quietly, told.append)  # type: ignore[arg-type]
    backend.print("step=1 loss=0.25\nstep=2 loss=0.1")
    looker.look()
    assert observed(store, attempt) == [Observation("loss", 0.25, 1)]
    backend.print("25\nauc=0.75\n")
    looker.look()
    assert observed(store, attempt) == [
        Observation("loss", 0.25, 1),
        Observation("loss", 0.125, 2),
        Observation("auc", 0.75),
    ]
    assert told == [Shown({"loss": 0.25}, 1)], "people are told now and then, not each time"
    assert store.live.newest(attempt.run_id) == {1: Shown({"loss": 0.125, "auc": 0.75}, 2)}
    assert store.trial(attempt.run_id, 1).metrics == {}
    store.stop_trial(attempt.run_id, 1, "stopped by ada")
    assert store.live.newest(attempt.run_id) == {}


def test_silence_counts_from_the_last_change_and_not_before_there_is_anything() -> None:
    clock = [0.0]
    silence = Silence(10.0, lambda: clock[0])
    seen = []
    for now, mark in ((50.0, None), (99.0, None), (100.0, 1), (110.0, 1), (110.5, 1), (111.0, 2)):
        clock[0] = now
        seen.append(silence.lasts(mark))
    assert seen == [False, False, False, False, True, False]
    clock[0] = 300.0
    assert not silence.lasts(None), "who cannot look has not seen silence"
    assert not silence.lasts(2)


def test_an_attempt_that_shows_nothing_is_ended_unless_nobody_could_look(
    store: Store, tmp_path: Path
) -> None:
    backend, which = FakeBackend(tmp_path), spec(stalled_after="10m")
    said: list[str] = []
    looker = Live(store, which, begun(store, which), backend, said.append)  # type: ignore[arg-type]
    clock = [0.0]
    looker._silence = Silence(600.0, lambda: clock[0])
    backend.print("loading data\n\n")
    looker.look()
    clock[0], backend.away = 500.0, True
    looker._look_or_say()
    looker._look_or_say()
    assert said == ["what trial 1 shows cannot be read or kept, yet: out of reach"]
    clock[0], backend.away = 601.0, False
    looker.look()
    assert (looker.ended, backend.stops) == (None, [])
    clock[0] = 1_202.0
    looker.look()
    why = (
        "nothing printed, and no metric, for 10m 00s (stalled_after); its last line was: "
        "loading data"
    )
    assert (looker.ended, backend.stops) == (Exit(Ending.STALLED, detail=why), ["stop"])
    assert looker.end(Exit(Ending.LOST)) == Exit(Ending.STALLED, detail=why)
    assert looker.end(GOOD_END) == GOOD_END


def test_a_stalled_trial_of_the_local_backend_is_ended_with_that_cause(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_LOOK_S", 0.1)
    monkeypatch.setattr(live, "_LONGEST_S", 0.1)
    loop, key = Loop(store, tmp_path), RunKey("hpo_local", "manual__stalls")
    words = [sys.executable, "-u", "-c", "import time; print('loss=0.125'); time.sleep(600)"]
    trial = CONF["trial"] | {"command": words, "timeout": "9m", "stalled_after": "2s"}
    run: Run = admission.begin(
        store,
        key,
        CONF | {"trial": trial},
        loop.installation,
        backend="local",
        triggered_by="ada",
        provenance=Provenance(),
    )
    lifecycle.next_wave(store, key, 1, loop.installation)
    loop.perform(run, 1)
    found = store.trial(run.id, 1)
    assert (found.state, found.cause) == (TrialState.FAILED, Cause.STALLED)
    assert found.reason is not None
    assert found.reason.endswith("for 2.0s (stalled_after); its last line was: loss=0.125")
    (attempt,) = store.attempts(run.id, 1)
    assert (attempt.state, attempt.cause) == (AttemptState.FAILED, Cause.STALLED)
    assert observed(store, attempt) == [Observation("loss", 0.125)]
