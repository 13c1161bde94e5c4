"""Optuna's HyperbandPruner with its TPE, both by their defaults but for `max_resource`.

TPE draws from the space; the trial then is the nearest configuration of the table that was not
tried yet, and Optuna knows it by that one's parameters.
"""

from __future__ import annotations

from typing import Any

from desk import Desk, serve


def play(desk: Desk, seed: int, _: str) -> None:
    """Report each step, and prune when Optuna says so."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    axes = {name: _axis(axis) for name, axis in desk.space.items()}

    class Snapped(optuna.samplers.TPESampler):
        """TPE whose points are those of the table."""

        def infer_relative_search_space(self, *_: Any) -> dict[str, Any]:
            """Draw all parameters together, from the first trial on."""
            return axes

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            """Draw as TPE does, at random before it has ten trials, and take the nearest row."""
            drawn = super().sample_relative(study, trial, search_space) or {
                name: self.sample_independent(study, trial, name, axis)
                for name, axis in search_space.items()
            }
            rows[trial.number] = desk.nearest(drawn)
            return desk.params[rows[trial.number]]

    rows: dict[int, int] = {}
    pruner = optuna.pruners.HyperbandPruner(max_resource=desk.steps)
    # A trial's bracket comes of the study's name.
    study = optuna.create_study(sampler=Snapped(seed=seed), pruner=pruner, study_name=str(seed))
    while True:
        trial = study.ask(axes)
        row, loss = rows[trial.number], 0.0
        for step in range(1, desk.steps + 1):
            loss = desk.train(row, step)
            trial.report(loss, step)
            if step < desk.steps and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, loss)


def _axis(axis: dict[str, Any]) -> Any:
    from optuna import distributions

    if "choices" in axis:
        return distributions.CategoricalDistribution(axis["choices"])
    is_log = axis.get("scale") == "log"
    if axis["type"] == "int":
        return distributions.IntDistribution(axis["low"], axis["high"], log=is_log)
    return distributions.FloatDistribution(axis["low"], axis["high"], log=is_log)


if __name__ == "__main__":
    serve("optuna", play)
