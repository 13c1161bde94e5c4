"""`mode: auto`: waves or not, chosen by a rule, once, when a run begins.

Pure: from a spec and complete runs of the same experiment to a mode, and why. The run keeps both.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpo_lib.core.makespan import cut_into_waves, share_waited
from hpo_lib.records import Past
from hpo_lib.samplers.auto import chosen as chosen_sampler
from hpo_lib.search.suggesting import blind
from hpo_lib.spec import Spec
from hpo_lib.words import count, percent

AUTO, WAVES, ASYNC = "auto", "waves", "async"
#: So many earlier runs of the experiment say how long its trials take, the newest ones.
RUNS = 5
#: Waves that would leave more of their places idle than this are not worth it.
_TOLERATED = 0.05


def chosen(
    spec: Spec, past: Sequence[Past] | None = None, *, in_slots: bool = True
) -> tuple[str, str | None]:
    """Name the mode of a spec's run, and say why if `auto` chose it.

    `past` are complete runs of the experiment; None if nobody has looked for them. A DAG without
    slots (`in_slots`) runs waves only.

    | the run | mode | why |
    |---|---|---|
    | its DAG has waves | `waves` | there is no choice |
    | one trial at a time | `waves` | nobody waits for anybody |
    | none of its trials learns from another | `async` | all that waves can do is wait |
    | a scheduler stops trials, or lets them go on | `async` | they end at different times |
    | waves would have kept more than 5 % of the places of earlier runs waiting | `async` | so too |
    | anything else | `waves` | the same seed then gives the same trials |
    """
    if spec.mode != AUTO:
        return spec.mode, None
    if not in_slots:
        return WAVES, "this DAG runs nothing else"
    if spec.limits.parallel_trials == 1:
        return WAVES, "with one trial at a time nobody waits"
    if why := _learns_nothing(spec):
        return ASYNC, f"{why}: waves would only wait"
    if spec.scheduler.name != "fifo":
        return ASYNC, f"scheduler {spec.scheduler.name} lets trials end at different times"
    return _by_past(spec.limits.parallel_trials, past)


def _learns_nothing(spec: Spec) -> str | None:
    """Say why no trial of a run depends on the result of another; None if one does."""
    alone, most, name = blind(spec), spec.limits.max_trials, chosen_sampler(spec)[0]
    if alone is None:
        return f"sampler {name} does not learn from results"
    if alone >= most:
        return f"sampler {name} learns after {count(alone, 'trial')}, and the run has {most}"
    return None


def _by_past(at_once: int, past: Sequence[Past] | None) -> tuple[str, str]:
    """Choose by how long the trials of earlier runs would have waited in waves of this width."""
    again = "in waves the same seed gives the same trials"
    if past is None:
        return WAVES, f"{again}, unless trials of earlier runs turn out to differ in length"
    lasted = [[one.duration_s for one in run.trials if one.duration_s is not None] for run in past]
    known = [durations for durations in lasted if len(durations) > 1]
    if not known:
        return WAVES, f"no earlier run tells how long trials take, and {again}"
    waited = share_waited(wave for run in known for wave in cut_into_waves(run, at_once))
    said = f"waves of {at_once} would have kept {percent(waited)} of the places in"
    said += f" {count(len(known), 'earlier run')} waiting"
    if waited > _TOLERATED:
        return ASYNC, said
    return WAVES, f"{said}, and {again}"
