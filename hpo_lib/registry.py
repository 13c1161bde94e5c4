"""Every sampler, scheduler, collector, backend, deployer, exporter …; a new one is one row here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from hpo_lib.errors import SpecError, nearest

#: The sampler that stands for one of the others: `hpo_lib.samplers.auto` says for which.
AUTO = "auto"

SAMPLERS = {
    "bayesian": "hpo_lib.samplers.bayesian:BayesianSampler",
    "cmaes": "hpo_lib.samplers.cmaes:CmaesSampler",
    "de": "hpo_lib.samplers.de:DeSampler",
    "evolution": "hpo_lib.samplers.evolution:EvolutionSampler",
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
#: Samplers that learn from earlier runs.
TAKE_EARLIER = ("bayesian",)
SCHEDULERS = {
    "asha": "hpo_lib.schedulers.asha:AshaScheduler",
    "auto": "hpo_lib.schedulers.auto:AutoScheduler",
    "fifo": "hpo_lib.schedulers.fifo:FifoScheduler",
    "hyperband": "hpo_lib.schedulers.hyperband:HyperbandScheduler",
    "median": "hpo_lib.schedulers.median:MedianScheduler",
    "pbt": "hpo_lib.schedulers.pbt:PbtScheduler",
    "screen": "hpo_lib.schedulers.screen:ScreenScheduler",
    "successive_halving": "hpo_lib.schedulers.successive_halving:SuccessiveHalvingScheduler",
}
COLLECTORS = {
    "file": "hpo_lib.collectors.file:FileCollector",
    "jsonl": "hpo_lib.collectors.jsonl:JsonlCollector",
    "stdout": "hpo_lib.collectors.stdout:StdoutCollector",
    "tfevents": "hpo_lib.collectors.tfevents:TfeventsCollector",
    "xcom": "hpo_lib.collectors.xcom:XcomCollector",
}
#: Collectors of what a container returns, which `BackendRow.returns` brings.
OF_RETURNED = ("xcom",)
#: The settings that a collector takes; one that is not listed takes all.
COLLECTOR_SETTINGS: dict[str, set[str]] = {
    "jsonl": {"path"},
    "stdout": {"format", "metric_definitions"},
    "tfevents": {"path"},
    "xcom": set(),
}
#: The formats of logs, in the order in which a line is shown to them.
FORMATS = {
    "json": "hpo_lib.collectors.formats.json_lines:JsonLine",
    "katib": "hpo_lib.collectors.formats.katib:Katib",
    "keras": "hpo_lib.collectors.formats.keras:Keras",
    "lightning": "hpo_lib.collectors.formats.lightning:Lightning",
    "huggingface": "hpo_lib.collectors.formats.huggingface:HuggingFace",
    "xgboost": "hpo_lib.collectors.formats.boosting:XGBoost",
    "lightgbm": "hpo_lib.collectors.formats.boosting:LightGBM",
    "catboost": "hpo_lib.collectors.formats.boosting:CatBoost",
    "sklearn": "hpo_lib.collectors.formats.sklearn:SkLearn",
    "name=value": "hpo_lib.collectors.formats.words:Equals",
    "name: value": "hpo_lib.collectors.formats.words:Colon",
}


@dataclass(frozen=True, slots=True)
class BackendRow:
    """What is known of a backend before anything of it is imported.

    `target` is its class. `operator` runs its trials in Airflow. `needs` is the module
    without which the backend has no DAG; one that needs more than Airflow also has to be set up in
    config/deployment.yaml. `example`, a file in config/experiments, fills the form
    that triggers its DAG. `on_workers` says that a trial is a program on a worker's own disk: it
    has no image, and sees the files beside it. `returns` says that the JSON that a container leaves
    in /airflow/xcom/return.json is brought here, even if its output is not.
    """

    target: str
    operator: str = "hpo_airflow.operators.trial:TrialOperator"
    needs: str = "airflow"
    example: str = "digits.yaml"
    on_workers: bool = False
    returns: bool = False

    @property
    def is_optional(self) -> bool:
        """Say whether it needs more than Airflow: not every installation has it."""
        return self.needs != "airflow"


#: All that the rest of the code knows of each backend; `backends()` adds the operator's own.
BACKENDS = {
    "docker": BackendRow(
        "hpo_lib.backends.docker:DockerBackend",
        needs="docker.client",
        example="digits-docker.yaml",
        returns=True,
    ),
    "ecs": BackendRow(
        "hpo_lib.backends.ecs:EcsBackend",
        operator="hpo_airflow.operators.ecs:EcsTrialOperator",
        needs="airflow.providers.amazon.aws.operators.ecs",
        example="digits-ecs.yaml",
    ),
    "job": BackendRow(
        "hpo_lib.backends.job:JobBackend",
        needs="airflow.providers.cncf.kubernetes.hooks",
        example="digits-job.yaml",
        returns=True,
    ),
    "kubernetes": BackendRow(
        "hpo_lib.backends.kubernetes:KubernetesBackend",
        operator="hpo_airflow.operators.kubernetes:KubernetesTrialOperator",
        needs="airflow.providers.cncf.kubernetes.operators",
        example="digits-kubernetes.yaml",
        returns=True,
    ),
    "local": BackendRow(
        "hpo_lib.backends.local:LocalBackend", example="curve.yaml", on_workers=True
    ),
}
DEPLOYERS = {
    "kubernetes": "hpo_lib.deployers.kubernetes:KubernetesDeployer",
    "mlflow": "hpo_lib.deployers.mlflow:MlflowDeployer",
    "package": "hpo_lib.deployers.package:PackageDeployer",
    "sagemaker": "hpo_lib.deployers.sagemaker:SageMakerDeployer",
}
EXPORTERS = {
    "mlflow": "hpo_lib.exporters.mlflow:MlflowExporter",
    "optuna": "hpo_lib.exporters.optuna:OptunaExporter",
    "tensorboard": "hpo_lib.exporters.tensorboard:TensorboardExporter",
    "wandb": "hpo_lib.exporters.wandb:WandbExporter",
}
#: Variables that name the packages and modules which an installation allows parts to come from.
ALLOWED_COLLECTORS, ALLOWED_DEPLOYERS = "HPO_COLLECTORS", "HPO_DEPLOYERS"
ALLOWED_SAMPLERS, ALLOWED_SCHEDULERS = "HPO_SAMPLERS", "HPO_SCHEDULERS"
#: Names backends of the operator's own: `name=package.module:Class`, comma-separated.
OWN_BACKENDS = "HPO_BACKENDS"
_OWN = {
    "collector": ALLOWED_COLLECTORS,
    "deployer": ALLOWED_DEPLOYERS,
    "sampler": ALLOWED_SAMPLERS,
    "scheduler": ALLOWED_SCHEDULERS,
}
_KINDS: dict[str, Mapping[str, str]] = {
    "sampler": SAMPLERS,
    "scheduler": SCHEDULERS,
    "collector": COLLECTORS,
    "deployer": DEPLOYERS,
    "exporter": EXPORTERS,
    "format": FORMATS,
}

#: Named in the design, not built yet: refused with these words rather than as unknown.
NOT_YET: dict[str, set[str]] = {
    "sampler": set(),
    "scheduler": set(),
    "collector": set(),
    "backend": set(),
    "deployer": set(),
    "exporter": set(),
    "format": set(),
}
#: What others have as a part, and what is in its place here.
INSTEAD = {
    ("scheduler", "plateau"): "limits.patience ends a run whose best trial no longer improves",
}


_DOTTED = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
#: Backends' DAGs are named hpo_BACKEND and hpo_BACKEND_waves, and these have other DAGs.
_TAKEN = re.compile(r"housekeeping|teams|scheduled(_.*)?|.*_waves")


def backends() -> Mapping[str, BackendRow]:
    """Give every backend's row, including those that the operator has added; SpecError."""
    own = filter(None, (one.strip() for one in os.environ.get(OWN_BACKENDS, "").split(",")))
    return {**BACKENDS, **dict(_own_backend(one) for one in own)}


def _own_backend(text: str) -> tuple[str, BackendRow]:
    name, _, target = (part.strip() for part in text.partition("="))
    if not (_NAME.fullmatch(name) and _DOTTED.fullmatch(target)):
        raise SpecError(f"{OWN_BACKENDS}: must be name=package.module:Class, got {text!r}")
    if _TAKEN.fullmatch(name):
        raise SpecError(f"{OWN_BACKENDS}: hpo_{name} is the name of another DAG, got {text!r}")
    if name in BACKENDS:
        raise SpecError(f"{OWN_BACKENDS}: backend {name} is there already, got {text!r}")
    return name, BackendRow(target)


def _targets(kind: str) -> Mapping[str, str]:
    """Give the class of every part of a kind, `package.module:Class`, by name."""
    if kind == "backend":
        return {name: row.target for name, row in backends().items()}
    return _KINDS[kind]


def check(kind: str, name: str) -> str:
    """Give `name` back if a part of that kind has it; SpecError says what exists.

    In place of a name, `package.module:Class` names a class of one's own, if the installation
    allows it; a backend of one's own has a name in HPO_BACKENDS.
    """
    known = [*_targets(kind), *([AUTO] if kind == "sampler" else [])]
    if name in known:
        return name
    listing = f"known: {', '.join(sorted(known))}"
    if kind in _OWN and ("." in name or ":" in name):
        return _check_own(kind, name, listing)
    if name in NOT_YET[kind]:
        raise SpecError(f"{kind} {name!r} is not supported yet; {listing}")
    hint = INSTEAD.get((kind, name))
    said = f": {hint}" if hint else nearest(name, known)
    raise SpecError(f"unknown {kind} {name!r}{said}; {listing}")


def _check_own(kind: str, name: str, listing: str) -> str:
    """Give `name` back if the installation allows it: a conf must not import whatever it likes."""
    match = _DOTTED.fullmatch(name)
    if match is None:
        raise SpecError(
            f"a {kind} of your own must be package.module:Class, got {name!r}; {listing}"
        )
    allowed = [one.strip() for one in os.environ.get(_OWN[kind], "").split(",")]
    if not any(f"{match['module']}.".startswith(f"{one}.") for one in allowed if one):
        raise SpecError(
            f"{kind} {name!r} is not allowed in this installation; its operator can add "
            f"{match['module']} to {_OWN[kind]}; {listing}"
        )
    return name


def load(kind: str, name: str) -> Any:
    """Import and give the class registered under `name`; SpecError if there is none."""
    target = _targets(kind).get(check(kind, name), name)
    if target.startswith("hpo_lib."):
        return imported(target)
    try:
        found = imported(target)
    except (Exception, SystemExit) as error:
        raise SpecError(f"{kind} {name!r} cannot be loaded: {error}") from error
    if not isinstance(found, type):
        raise SpecError(f"{kind} {name!r} cannot be loaded: it is no class")
    return found


def imported(target: str) -> Any:
    """Import what `package.module:name` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
