"""The sampler `auto`: a rule that chooses one of the others, once, before a run begins."""

from __future__ import annotations

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.registry import AUTO
from hpo_lib.spec import Spec

#: The samplers that it chooses from.
CHOICES = ("bayesian", "grid", "sobol")


def choose(
    space: Space, goal: Goal, *, trials: int | None, parallel: int | None, fidelity: bool
) -> tuple[str, str]:
    """Name the sampler for a run, and say why; None is a number that nobody knows beforehand.

    | the run | sampler | why |
    |---|---|---|
    | one wave, which holds the whole space | `grid` | nothing is left to choose |
    | one wave, which does not | `sobol` | no trial can learn from another, so they spread out |
    | anything else | `bayesian` | nothing measured is better beyond noise, and it takes any space |

    Several objectives, constraints, conditional parameters and trials at less than the full
    resource (`fidelity`) change nothing, since `bayesian` models each of them.
    """
    if trials is None or parallel is None or trials > parallel:
        also = _modelled(space, goal, fidelity)
        more = f", and it models {', '.join(also)}" if also else ""
        return "bayesian", f"later trials learn from earlier ones{more}"
    if space.size is not None and space.size <= trials:
        return "grid", f"one wave of {trials} trials holds all {space.size} configurations"
    return "sobol", f"all {trials} trials start at once, so that none can learn from another"


def chosen(spec: Spec) -> tuple[str, str | None]:
    """Name the sampler of a spec, and say why if `auto` chose it."""
    if spec.sampler.name != AUTO:
        return spec.sampler.name, None
    if spec.warm_start:
        return "bayesian", "it learns from earlier runs"
    return choose(
        spec.search_space,
        spec.goal,
        trials=spec.limits.max_trials,
        parallel=spec.limits.parallel_trials,
        fidelity=spec.scheduler.name != "fifo",
    )


def _modelled(space: Space, goal: Goal, fidelity: bool) -> list[str]:
    conditional = any(parameter.when for parameter in space.parameters.values())
    kinds = [
        (f"{len(goal.objectives)} objectives", goal.several),
        ("constraints", bool(goal.constraints)),
        ("conditions", conditional),
        ("values at less than the full resource", fidelity),
    ]
    return [kind for kind, present in kinds if present]
