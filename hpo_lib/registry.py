"""Every pluggable part by name; a new one is one line here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hpo_lib.errors import SpecError, nearest

#: The sampler that stands for one of the others: `hpo_lib.samplers.auto` says for which.
AUTO = "auto"

SAMPLERS = {
    "bayesian": "hpo_lib.samplers.bayesian:BayesianSampler",
    "cmaes": "hpo_lib.samplers.cmaes:CmaesSampler",
    "gp": "hpo_lib.samplers.gp:GpSampler",
    "grid": "hpo_lib.samplers.grid:GridSampler",
    "hyperopt": "hpo_lib.samplers.hyperopt:HyperoptSampler",
    "nsga2": "hpo_lib.samplers.nsga2:Nsga2Sampler",
    "optuna": "hpo_lib.samplers.optuna:AnyOptunaSampler",
    "qmc": "hpo_lib.samplers.qmc:QmcSampler",
    "random": "hpo_lib.samplers.random:RandomSampler",
    "skopt": "hpo_lib.samplers.skopt:SkoptSampler",
    "sobol": "hpo_lib.samplers.sobol:SobolSampler",
    "tpe": "hpo_lib.samplers.tpe:TpeSampler",
}
SCHEDULERS = {
    "fifo": "hpo_lib.schedulers.fifo:FifoScheduler",
}
COLLECTORS = {
    "jsonl": "hpo_lib.collectors.jsonl:JsonlCollector",
    "stdout": "hpo_lib.collectors.stdout:StdoutCollector",
}
BACKENDS = {
    "docker": "hpo_lib.backends.docker:DockerBackend",
    "kubernetes": "hpo_lib.backends.kubernetes:KubernetesBackend",
    "local": "hpo_lib.backends.local:LocalBackend",
}
_KINDS = {
    "sampler": SAMPLERS,
    "scheduler": SCHEDULERS,
    "collector": COLLECTORS,
    "backend": BACKENDS,
}

#: Named in the design, not built yet: refused with these words rather than as unknown.
NOT_YET = {
    "sampler": set(),
    "scheduler": {"asha", "hyperband", "median", "pbt"},
    "collector": {"file", "tfevents", "xcom"},
    "backend": {"ecs"},
}


def check(kind: str, name: str) -> str:
    """Give `name` back if a part of that kind has it; SpecError says what exists."""
    known = [*_KINDS[kind], *([AUTO] if kind == "sampler" else [])]
    if name in known:
        return name
    listing = f"known: {', '.join(sorted(known))}"
    if name in NOT_YET[kind] or (kind == "collector" and "." in name):
        raise SpecError(f"{kind} {name!r} is not supported yet; {listing}")
    raise SpecError(f"unknown {kind} {name!r}{nearest(name, known)}; {listing}")


def load(kind: str, name: str) -> Any:
    """Import and give the class registered under `name`; SpecError if there is none."""
    module, _, attribute = _KINDS[kind][check(kind, name)].partition(":")
    return getattr(import_module(module), attribute)
