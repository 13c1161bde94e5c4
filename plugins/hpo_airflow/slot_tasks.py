"""What a slot does: it sees trial after trial through, until its run gives it none."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from hpo_airflow import run_note, tasks
from hpo_airflow.installation import open_store, team_of, this_installation
from hpo_airflow.labels import label, standing
from hpo_airflow.tasks import OVER, errors, key_of
from hpo_airflow.trial_progress import rename

if TYPE_CHECKING:
    from hpo_lib.core.trial import Assignment, Trial
    from hpo_lib.runs.scheduled_files import ScheduledFile
    from hpo_lib.runs.slots import Asking
    from hpo_lib.store import Store

log = logging.getLogger(__name__)
#: The tasks of a DAG with slots: the first says how many there are, the other is one each.
SLOTS, SLOT = "slots", "slot"
_POLL_S, _ASK_S, _SHOW_S, _NOTE_S = 0.5, 20.0, 5.0, 30.0
_INDEX = re.compile(rf"{SLOT}_(\d+)")


class Operator(Protocol):
    """The task of a slot."""

    assignment: Mapping[str, Any]

    def check_goes_on(self) -> None:
        """Raise TransientError if Airflow has asked the task to end."""

    def see_through(self, store: Store, assignment: Mapping[str, Any]) -> Trial:
        """See a trial through."""
        ...


def opened(
    context: Mapping[str, Any], file: ScheduledFile | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """Give a run's slots for their mapped tasks, or the reason why it never had any.

    A run that has ended has slots too, which find nothing to do: Airflow skips no mapped task that
    is there, such as one that was cleared (3.3.2), and fails it if its list is empty by then.
    """
    from hpo_lib.runs import lifecycle

    key = key_of(context)
    with errors(), open_store() as store:
        why = lifecycle.not_begun(store, key)
        if said := why.reason if why else tasks.other_backend(store, key, file):
            log.error("no trials: %s", said)
            return [], said
        run = store.run(key)
        limits = run.spec.limits
    count = min(limits.parallel_trials, limits.max_trials)
    slots = range(1, count + 1)
    return [{"slot": one, "of": count, "label": f"slot {one}"} for one in slots], None


def work(context: Mapping[str, Any], slot: Mapping[str, Any], operator: Operator) -> dict[str, Any]:
    """See a slot's trials through, one after the other; give how many they were.

    A trial that fails is recorded, and the slot goes on: the run says when there are too many.
    """
    from hpo_lib.runs.slots import Asking
    from hpo_lib.words import count

    number, done = int(slot["slot"]), 0
    shown = _Shown(context, number, int(slot.get("of", 1)))
    with errors(), open_store(keep_open=True) as store:
        asking = Asking(store, key_of(context), number, this_installation(team_of(context)))
        while True:
            operator.check_goes_on()
            turn = asking.take_turn()
            if turn.stop is not None:
                log.info("no further trials: %s", turn.stop.reason)
                break
            if turn.reused is not None:
                one, source = turn.reused
                log.info("trial %s: %s; reused from %s, not trained", one.trial, one.params, source)
            elif turn.assignment is None:
                _wait(context, asking, operator)
            else:
                shown.trial(turn.assignment)
                _see_through(store, asking, turn.assignment, operator)
                done += 1
                shown.standing(store)
    operator.assignment = {**slot, "label": f"{slot['label']}: {count(done, 'trial')}"}
    return {"slot": number, "trials": done}


def _see_through(store: Store, asking: Asking, one: Assignment, operator: Operator) -> None:
    """See a trial through, attempt after attempt, in a section of its own in the slot's log."""
    from hpo_lib.core.trial import TrialState
    from hpo_lib.errors import AnotherAttempt
    from hpo_lib.runs.slots import name_of

    given = {
        "trial": one.trial,
        "slot": name_of(asking.slot),
        "label": named(asking.slot, one),
        "asked": time.time(),
    }
    with section(one.trial, one.params):
        while True:
            try:
                trial = operator.see_through(store, given)
                break
            except AnotherAttempt as error:
                log.warning("%s", error)
                _pause(operator, error.after_s or 0.0)
        if trial.state is TrialState.FAILED:
            log.error("trial %s failed: %s: %s", one.trial, trial.cause, trial.reason)
        else:
            log.info("trial %s: %s", one.trial, trial.reason)


def named(slot: int, one: Assignment) -> str:
    """Name what a slot runs, in Airflow's grid."""
    return f"slot {slot} · {label(one.trial, one.params, one.resource)}"


def _pause(operator: Operator, seconds: float) -> None:
    """Wait, but not for a task that Airflow has asked to end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        operator.check_goes_on()
        time.sleep(min(_POLL_S, seconds))


def _wait(context: Mapping[str, Any], asking: Asking, operator: Operator) -> None:
    """Wait until there may be something to do, and end what slots have left whose tasks are over.

    The run's limit on time is looked at now and then, whatever happens.
    """
    from hpo_lib.runs.slots import settle_left

    run = asking.store.run(asking.key)
    before, end = asking.store.slots.pulse(run.id), time.monotonic() + _ASK_S
    while asking.store.slots.pulse(run.id) == before:
        if time.monotonic() > end:
            over = _over(context)
            for number in settle_left(asking.store, run, asking.installation, over):
                log.info("trial %s is ended: the task of its slot is over", number)
            return
        _pause(operator, _POLL_S)


def _over(context: Mapping[str, Any]) -> set[int]:
    """Number the slots whose tasks Airflow does not run again."""
    ti = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[SLOT], run_ids=[ti.run_id])
    found = {_INDEX.fullmatch(name): str(state) for name, state in states[ti.run_id].items()}
    return {int(one[1]) + 1 for one, state in found.items() if one is not None and state in OVER}


#: Where the section of a trial begins in the log of a slot; the number is before the colon.
SECTION = "::group::trial "


@contextmanager
def section(number: int, params: Mapping[str, Any]) -> Iterator[None]:
    """Put what a block logs of a trial in a section of the log, which Airflow folds."""
    log.info("%s%s: %s", SECTION, number, dict(params))
    try:
        yield
    finally:
        log.info("::endgroup::")


class _Shown:
    """What Airflow shows of a slot while it works, no more often than people look."""

    def __init__(self, context: Mapping[str, Any], slot: int, slots: int) -> None:
        """Take the slot's number; its run's note is written by one after the other."""
        self._context, self._slot, self._shown = context, slot, 0.0
        self._note_s = _NOTE_S * slots
        self._noted = time.monotonic() - _NOTE_S * (slots - slot + 1)

    def trial(self, one: Assignment) -> None:
        """Name the trial beside the slot, in Airflow's grid."""
        now = time.monotonic()
        if self._shown and now - self._shown < _SHOW_S:
            return
        self._shown = now
        rename(self._context["ti"], named(self._slot, one))

    def standing(self, store: Store) -> None:
        """Write in the run's note how it stands."""
        if time.monotonic() - self._noted < self._note_s:
            return
        self._noted = time.monotonic()
        run_note.write(self._context, lambda: standing(store, key_of(self._context)))
