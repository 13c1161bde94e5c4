"""One optimizer behind JSON lines, run as a file by the Python of the peer's own environment.

    python peer.py NAME
    < {"space": {...}, "seed": 0, "batch": 8, "budget": 128}
    > {"version": "..."}
    < {"tell": [[params, loss or null], ...], "ask": 8}
    > {"ask": [params, ...], "cpu_s": 0.5}

Needs the standard library and the peer only. Peers see every parameter, conditional ones too, as
one of three kinds of axis; what is told back are the parameters that were suggested. The README
says how each peer is set up.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

Flat = dict[str, Any]
Results = list[tuple[Any, float | None]]


@dataclass(frozen=True)
class Axis:
    """A parameter as every peer knows it: kind is real, whole or choice (labels "0", "1", ...).

    Steps and ordinals become whole numbers from 0.
    """

    name: str
    kind: str
    low: float
    high: float
    is_log: bool
    spec: dict[str, Any]

    @classmethod
    def of(cls, name: str, spec: dict[str, Any]) -> Axis:
        """Make the axis of one parameter of a spec."""
        if "choices" in spec:
            kind = "choice" if spec["type"] == "categorical" else "whole"
            return cls(name, kind, 0, len(spec["choices"]) - 1, False, spec)
        low, high, scale = spec["low"], spec["high"], spec.get("scale", "linear")
        step = spec.get("step", 1 if spec["type"] == "int" else None)
        if step not in (None, 1) or (step and spec["type"] == "float"):
            return cls(name, "whole", 0, int((high - low) / step + 1e-9), False, spec)
        if scale == "reverse_log":
            return cls(name, "real", 1 - high, 1 - low, True, spec)
        kind = "whole" if spec["type"] == "int" else "real"
        return cls(name, kind, low, high, scale == "log", spec)

    @property
    def labels(self) -> list[str]:
        """The labels of a choice."""
        return [str(index) for index in range(int(self.high) + 1)]

    def value(self, raw: Any) -> Any:
        """Give the parameter's value for a point of the axis."""
        if "choices" in self.spec:
            return self.spec["choices"][int(raw)]
        if self.kind == "whole":
            index = min(max(round(float(raw)), int(self.low)), int(self.high))
            if self.low == self.spec["low"] and self.high == self.spec["high"]:
                return index
            value = self.spec["low"] + index * self.spec["step"]
            return round(value, 10) if self.spec["type"] == "float" else value
        inside = min(max(float(raw), self.low), self.high)
        return 1 - inside if self.spec.get("scale") == "reverse_log" else inside


class Peer:
    """Asks and tells by handle; `imports` are loaded before the clock runs."""

    package = ""
    imports: tuple[str, ...] = ()

    def __init__(self, axes: list[Axis], seed: int, batch: int, budget: int) -> None:
        self.axes, self.seed, self.batch, self.budget = axes, seed, batch, budget
        self._worst: float | None = None
        self._held: Results = []
        self.start()

    def start(self) -> None:
        """Make the peer's optimizer."""
        raise NotImplementedError

    def ask(self, count: int) -> list[tuple[Any, Flat]]:
        """Give handles and points by name of axis."""
        raise NotImplementedError

    def tell(self, results: Results) -> None:
        """Take handles and losses, None for a failure."""
        raise NotImplementedError

    def finite(self, results: Results) -> list[tuple[Any, float]]:
        """Give failures the worst loss so far; before there is one they are held back."""
        results, self._held = self._held + results, []
        known = [loss for _, loss in results if loss is not None]
        if self._worst is not None:
            known.append(self._worst)
        if not known:
            self._held = results
            return []
        self._worst = max(known)
        return [(handle, self._worst if loss is None else loss) for handle, loss in results]


class Hebo(Peer):
    """HEBO, whole batches at a time."""

    package = "HEBO"
    imports = ("torch", "hebo.optimizers.hebo")

    def start(self) -> None:
        import numpy as np
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        np.random.seed(self.seed)
        torch.manual_seed(self.seed)
        space = DesignSpace().parse([self._parameter(axis) for axis in self.axes])
        self._optimizer = HEBO(space, scramble_seed=self.seed)

    def _parameter(self, axis: Axis) -> Flat:
        if axis.kind == "choice":
            return {"name": axis.name, "type": "cat", "categories": axis.labels}
        kinds = {
            ("real", False): "num",
            ("real", True): "pow",
            ("whole", False): "int",
            ("whole", True): "pow_int",
        }
        kind = kinds[axis.kind, axis.is_log]
        return {"name": axis.name, "type": kind, "lb": axis.low, "ub": axis.high}

    def ask(self, count: int) -> list[tuple[Any, Flat]]:
        rows = self._optimizer.suggest(n_suggestions=count)
        return [(rows.iloc[[index]], rows.iloc[index].to_dict()) for index in range(len(rows))]

    def tell(self, results: Results) -> None:
        import numpy as np
        import pandas as pd

        told = self.finite(results)
        if told:
            rows = pd.concat([row for row, _ in told], ignore_index=True)
            self._optimizer.observe(rows, np.array([[loss] for _, loss in told]))


class _Optuna(Peer):
    """Optuna with one of its samplers; failures get its state FAIL."""

    package = "optuna"
    imports: tuple[str, ...] = ("optuna",)

    def sampler(self) -> Any:
        """Make the sampler."""
        raise NotImplementedError

    def start(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(sampler=self.sampler())
        self._distributions = {axis.name: self._distribution(axis) for axis in self.axes}

    def _distribution(self, axis: Axis) -> Any:
        from optuna import distributions

        if axis.kind == "choice":
            return distributions.CategoricalDistribution(axis.labels)
        if axis.kind == "whole":
            return distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.is_log)
        return distributions.FloatDistribution(axis.low, axis.high, log=axis.is_log)

    def ask(self, count: int) -> list[tuple[Any, Flat]]:
        trials = [self._study.ask(self._distributions) for _ in range(count)]
        return [(trial, dict(trial.params)) for trial in trials]

    def tell(self, results: Results) -> None:
        from optuna.trial import TrialState

        for trial, loss in results:
            if loss is None:
                self._study.tell(trial, state=TrialState.FAIL)
            else:
                self._study.tell(trial, loss)


class OptunaTpe(_Optuna):
    """Its default sampler, with the constant liar that its documentation advises for batches."""

    def sampler(self) -> Any:
        from optuna.samplers import TPESampler

        return TPESampler(seed=self.seed, constant_liar=True)


class OptunaGp(_Optuna):
    """Its Gaussian process."""

    imports = ("optuna", "torch", "scipy.optimize", "scipy.stats")

    def sampler(self) -> Any:
        from optuna.samplers import GPSampler

        return GPSampler(seed=self.seed)


class OptunaCmaes(_Optuna):
    """CMA-ES; it leaves categoricals to random sampling."""

    imports = ("optuna", "cmaes")

    def sampler(self) -> Any:
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(seed=self.seed, warn_independent_sampling=False)


class SkoptGp(Peer):
    """Its Gaussian process, batches by the constant liar cl_min."""

    package = "scikit-optimize"
    imports = ("skopt",)

    def start(self) -> None:
        from skopt import Optimizer

        self._optimizer = Optimizer(
            [self._dimension(axis) for axis in self.axes],
            base_estimator="GP",
            random_state=self.seed,
        )

    def _dimension(self, axis: Axis) -> Any:
        from skopt.space import Categorical, Integer, Real

        if axis.kind == "choice":
            return Categorical(axis.labels)
        prior = "log-uniform" if axis.is_log else "uniform"
        if axis.kind == "whole":
            return Integer(int(axis.low), int(axis.high), prior=prior)
        return Real(axis.low, axis.high, prior=prior)

    def ask(self, count: int) -> list[tuple[Any, Flat]]:
        # Else it gives the same points until it is told something: forever if the first failed.
        self._optimizer.cache_ = {}
        points = self._optimizer.ask(count, strategy="cl_min")
        names = [axis.name for axis in self.axes]
        return [(point, dict(zip(names, point, strict=True))) for point in points]

    def tell(self, results: Results) -> None:
        told = self.finite(results)
        if told:
            points, losses = zip(*told, strict=True)
            self._optimizer.tell(list(points), list(losses))


class HyperoptTpe(Peer):
    """TPE; trials under way are in its history, as with its own parallel runs."""

    package = "hyperopt"
    imports = ("hyperopt", "hyperopt.tpe")

    def start(self) -> None:
        import hyperopt

        space = {axis.name: self._expression(axis) for axis in self.axes}
        self._domain = hyperopt.Domain(never_called, space)
        self._trials = hyperopt.Trials()
        self._random = random.Random(self.seed)

    def _expression(self, axis: Axis) -> Any:
        import math

        from hyperopt import hp

        if axis.kind == "choice":
            return hp.choice(axis.name, axis.labels)
        if axis.kind == "real" and axis.is_log:
            return hp.loguniform(axis.name, math.log(axis.low), math.log(axis.high))
        if axis.kind == "real":
            return hp.uniform(axis.name, axis.low, axis.high)
        if axis.is_log:
            low, high = math.log(max(axis.low - 0.5, axis.low / 2)), math.log(axis.high + 0.5)
            return hp.qloguniform(axis.name, low, high, 1)
        return hp.uniformint(axis.name, int(axis.low), int(axis.high))

    def ask(self, count: int) -> list[tuple[Any, Flat]]:
        from hyperopt import space_eval, tpe

        found = []
        for _ in range(count):
            ids = self._trials.new_trial_ids(1)
            self._trials.refresh()
            docs = tpe.suggest(ids, self._domain, self._trials, self._random.randrange(2**31))
            self._trials.insert_trial_docs(docs)
            self._trials.refresh()
            drawn = {name: v[0] for name, v in docs[0]["misc"]["vals"].items() if v}
            flat = space_eval({a.name: self._expression(a) for a in self.axes}, drawn)
            found.append((docs[0]["tid"], flat))
        return found

    def tell(self, results: Results) -> None:
        import hyperopt

        losses = dict(results)
        for doc in self._trials._dynamic_trials:
            if doc["tid"] not in losses:
                continue
            loss = losses[doc["tid"]]
            doc["state"] = hyperopt.JOB_STATE_DONE
            failed = {"status": hyperopt.STATUS_FAIL}
            ok = {"status": hyperopt.STATUS_OK, "loss": loss}
            doc["result"] = failed if loss is None else ok
        self._trials.refresh()


class Smac(Peer):
    """The facade for hyperparameters: random forest, one evaluation per configuration."""

    package = "smac"
    imports = ("smac",)

    def start(self) -> None:
        import tempfile

        from ConfigSpace import ConfigurationSpace
        from smac import HyperparameterOptimizationFacade, Scenario

        space = ConfigurationSpace(seed=self.seed)
        space.add([self._parameter(axis) for axis in self.axes])
        self._folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            space,
            output_directory=self._folder.name,  # type: ignore[arg-type,unused-ignore]
            deterministic=True,
            n_trials=self.budget,
            seed=self.seed,
        )
        self._smac = HyperparameterOptimizationFacade(
            scenario, never_called, overwrite=True, logging_level=False
        )

    def _parameter(self, axis: Axis) -> Any:
        from ConfigSpace import Categorical, Float, Integer

        if axis.kind == "choice":
            return Categorical(axis.name, axis.labels)
        if axis.kind == "whole":
            return Integer(axis.name, (int(axis.low), int(axis.high)), log=axis.is_log)
        return Float(axis.name, (axis.low, axis.high), log=axis.is_log)

    def ask(self, count: int) -> list[tuple[Any, Flat]]:
        found = []
        for _ in range(count):
            try:
                info = self._smac.ask()
            except StopIteration:  # it has run out of configurations
                break
            found.append((info, dict(info.config)))
        return found

    def tell(self, results: Results) -> None:
        from smac.runhistory import TrialValue

        for info, loss in self.finite(results):
            self._smac.tell(info, TrialValue(cost=loss), save=False)


class Ours:
    """A sampler of this project, by name; it sees conditions, and decodes nothing."""

    package = "hpo-lib"
    imports = (
        *("numpy", "scipy.stats", "scipy.optimize", "scipy.linalg", "threadpoolctl"),
        *("sklearn.ensemble", "skopt"),
    )

    def __init__(self, space: Flat, sampler: str, seed: int) -> None:
        from hpo_lib import Optimizer

        self._optimizer = Optimizer(space, sampler=sampler, direction="minimize", seed=seed)

    def ask(self, count: int) -> list[tuple[Any, Flat]]:
        return [(params, params) for params in self._optimizer.suggest(count)]

    def tell(self, results: Results) -> None:
        for params, loss in results:
            self._optimizer.observe(params, loss)


PEERS: dict[str, type[Peer]] = {
    "hebo": Hebo,
    "optuna-tpe": OptunaTpe,
    "optuna-gp": OptunaGp,
    "optuna-cmaes": OptunaCmaes,
    "skopt-gp": SkoptGp,
    "hyperopt-tpe": HyperoptTpe,
    "smac": Smac,
}


def never_called(config: Any, seed: int = 0) -> float:
    """Stand in for the objective; SMAC insists on the names."""
    raise RuntimeError(f"evaluated by the harness, not here: {config}, seed {seed}")


def prepare(kind: Any) -> str:
    """Import what a peer needs, hold it to one thread, and give its version."""
    from importlib.metadata import version

    for name in kind.imports:
        try:
            importlib.import_module(name)
        except ImportError:
            if kind is not Ours:
                raise
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    return version(kind.package)


def made(name: str, start: Flat) -> Any:
    """Make the peer of that name."""
    if name.startswith("ours:"):
        return Ours(start["space"], name.removeprefix("ours:"), start["seed"])
    axes = [Axis.of(parameter, spec) for parameter, spec in start["space"].items()]
    return PEERS[name](axes, start["seed"], start["batch"], start["budget"])


class Desk:
    """Keeps which handle belongs to which suggested parameters."""

    def __init__(self, peer: Any) -> None:
        self._peer = peer
        self._axes = {axis.name: axis for axis in getattr(peer, "axes", [])}
        self._handles: dict[str, list[Any]] = {}

    def answer(self, tell: list[tuple[Flat, float | None]], count: int) -> list[Flat]:
        """Tell, then ask."""
        results = [(self._handles[_key(params)].pop(0), loss) for params, loss in tell]
        if results:
            self._peer.tell(results)
        found = []
        for handle, raw in self._peer.ask(count) if count else []:
            params = {name: self._value(name, value) for name, value in raw.items()}
            self._handles.setdefault(_key(params), []).append(handle)
            found.append(params)
        return found

    def _value(self, name: str, raw: Any) -> Any:
        return self._axes[name].value(raw) if name in self._axes else raw


def _key(params: Flat) -> str:
    return json.dumps(params, sort_keys=True)


def main() -> None:
    """Serve one run; what the peer itself prints goes to standard error."""
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name = sys.argv[1]
    start = json.loads(sys.stdin.readline())
    version = prepare(Ours if name.startswith("ours:") else PEERS[name])
    random.seed(start["seed"])
    desk = Desk(made(name, start))
    print(json.dumps({"version": version}), file=out)
    for line in sys.stdin:
        request = json.loads(line)
        began = time.process_time()
        found = desk.answer([tuple(told) for told in request["tell"]], request["ask"])
        cpu_s = time.process_time() - began
        print(json.dumps({"ask": found, "cpu_s": round(cpu_s, 4)}), file=out)


if __name__ == "__main__":
    main()
