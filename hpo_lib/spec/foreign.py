"""Files of other tools that are taken for an experiment: what they are, and our names for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hpo_lib.validation import shown

#: What every experiment has; a conf that has so many of them is one, whatever else is wrong.
_REQUIRED, _ENOUGH = ("name", "objective", "space", "trial"), 2


class Tool(NamedTuple):
    """Another tool's file: what it is, sets of keys that each tell it, and our names for its."""

    what: str
    told_by: tuple[set[str], ...]
    names: Mapping[str, str]


KATIB = Tool(
    "a Katib Experiment",
    ({"objectiveMetricName"}, {"trialTemplate"}, {"maxTrialCount", "algorithm"}),
    {
        "objective.type": "objective.direction",
        "objectiveMetricName": "objective.metric",
        "goal": "objective.target",
        "algorithmName": "sampler.name",
        "parameters": "space",
        "parameterType": "type",
        "feasibleSpace": "low and high, or choices",
        "feasibleSpace.distribution": "distribution",
        "maxTrialCount": "limits.max_trials",
        "parallelTrialCount": "limits.parallel_trials",
        "maxFailedTrialCount": "limits.max_failed_trials",
        "trialSpec": "trial.options.resource of trial.backend job",
    },
)
SAGEMAKER = Tool(
    "a tuning job of SageMaker",
    (
        {"HyperParameterTuningJobConfig"},
        {"hyperParameterTuningJobConfig"},
        {"HyperParameterTuningJobObjective"},
        {"ParameterRanges"},
        {"TrainingJobDefinition"},
    ),
    {
        "Strategy": "sampler.name",
        "HyperParameterTuningJobObjective.Type": "objective.direction",
        "MetricName": "objective.metric",
        "ParameterRanges": "space",
        "MinValue": "low",
        "MaxValue": "high",
        "Values": "choices",
        "ScalingType": "scale",
        "StaticHyperParameters": "fixed",
        "MaxNumberOfTrainingJobs": "limits.max_trials",
        "MaxParallelTrainingJobs": "limits.parallel_trials",
        "TrainingJobDefinition": "trial",
    },
)
TOOLS = (
    KATIB,
    SAGEMAKER,
    Tool(
        "a study of Vertex AI or Vizier",
        ({"studySpec"}, {"study_spec"}, {"studyConfig"}, {"metrics", "parameters"}),
        {
            "metricId": "objective.metric",
            "goal": "objective.direction",
            "algorithm": "sampler.name",
            "parameters": "space",
            "minValue": "low",
            "maxValue": "high",
            "values": "choices",
            "scaleType": "scale",
            "maxTrialCount": "limits.max_trials",
            "parallelTrialCount": "limits.parallel_trials",
            "trialJobSpec": "trial",
        },
    ),
    Tool(
        "a sweep of W&B",
        ({"method", "parameters"},),
        {
            "method": "sampler.name",
            "metric.name": "objective.metric",
            "metric.goal": "objective.direction",
            "parameters": "space",
            "min": "low",
            "max": "high",
            "values": "choices",
            "distribution": "distribution",
            "run_cap": "limits.max_trials",
            "program": "trial.command",
        },
    ),
    Tool(
        "a setting of Ray Tune",
        ({"param_space"}, {"tune_config"}, {"num_samples"}),
        {
            "param_space": "space",
            "metric": "objective.metric",
            "mode": "objective.direction",
            "num_samples": "limits.max_trials",
            "max_concurrent_trials": "limits.parallel_trials",
            "search_alg": "sampler",
        },
    ),
    Tool(
        "a study of Optuna",
        ({"direction", "n_trials"}, {"study_name"}),
        {
            "direction": "objective.direction",
            "n_trials": "limits.max_trials",
            "n_jobs": "limits.parallel_trials",
            "log": "scale",
        },
    ),
    Tool(
        "an experiment of NNI",
        ({"searchSpace"}, {"searchSpaceFile"}, {"trialCommand"}),
        {
            "searchSpace": "space",
            "tuner": "sampler",
            "maxTrialNumber": "limits.max_trials",
            "trialConcurrency": "limits.parallel_trials",
            "trialCommand": "trial.command",
        },
    ),
    Tool(
        "an experiment of Determined",
        ({"searcher", "hyperparameters"},),
        {
            "hyperparameters": "space",
            "minval": "low",
            "maxval": "high",
            "searcher.metric": "objective.metric",
            "searcher.max_trials": "limits.max_trials",
            "entrypoint": "trial.command",
        },
    ),
)
#: A parameter as it is written here, for those who bring no more than parameters.
EXAMPLE = "{type: float, low: 0.001, high: 0.1, scale: log}"
_SPACE = f"a search space alone; it belongs in space, with parameters such as x: {EXAMPLE}"
#: What a mapping has that describes a parameter, in one tool or another.
_RANGE = {"type", "_type", "low", "high", "min", "max", "lower", "upper", "values", "choices"}
#: What a request to Airflow has beside the conf.
_REQUEST = {"conf", "dag_run_id", "logical_date", "run_after", "note", "partition_key"} | {
    "data_interval_start",
    "data_interval_end",
}


def foreign(data: Mapping[Any, Any]) -> str | None:
    """Say what a conf is that is no experiment of ours; None if it is one, or nothing known."""
    if _is_ours(data):
        return None
    if (key := _wrapped_in(data)) is not None:
        return f"must be the experiment itself, got it inside of {shown(key)}"
    what = _resource(data) if {"apiVersion", "kind"} <= data.keys() else _other(data)
    return f"must be an experiment as in docs/spec.md, got {what}" if what else None


def _is_ours(data: Any) -> bool:
    return isinstance(data, Mapping) and sum(key in data for key in _REQUIRED) >= _ENOUGH


def _wrapped_in(data: Mapping[Any, Any]) -> Any:
    """Give the key whose value is the experiment, such as `conf`."""
    if isinstance(data.get("conf"), Mapping) and data.keys() <= _REQUEST:
        return "conf"
    return next((key for key, inner in data.items() if _is_ours(inner)), None)


def _other(data: Mapping[Any, Any]) -> str | None:
    for tool in TOOLS:
        if any(keys <= data.keys() for keys in tool.told_by):
            return _told(tool)
    return _SPACE if _is_space(data) else None


def _told(tool: Tool) -> str:
    names = ", ".join(f"{theirs} is {ours}" for theirs, ours in tool.names.items())
    return f"{tool.what}; here its {names}"


def _resource(data: Mapping[Any, Any]) -> str:
    """Say what a resource of Kubernetes is; of a list of them, the first."""
    group, kind, listed = _group(data), data["kind"], data.get("items")
    if kind == "List" and isinstance(listed, list):
        first = listed[0] if listed and isinstance(listed[0], Mapping) else {}
        known = {"apiVersion", "kind"} <= first.keys() and first["kind"] != "List"
        more = f"; the first is {_resource(first)}" if known else ""
        return f"a Kubernetes List of {len(listed)}, in place of one{more}"
    if group == "kubeflow.org" and kind == "Experiment":
        return _told(KATIB)
    if group.startswith("sagemaker."):
        return _told(SAGEMAKER)
    runs = str(kind).endswith(("Job", "Run"))
    where = "; what a trial runs is trial.options.resource of trial.backend job" if runs else ""
    return f"a Kubernetes {_word(kind)}{where}"


def _group(data: Mapping[Any, Any]) -> str:
    return str(data["apiVersion"]).partition("/")[0]


def _word(kind: Any) -> str:
    return shown(kind).strip('"')


def _is_space(data: Mapping[Any, Any]) -> bool:
    return bool(data) and all(_is_range(value) for value in data.values())


def _is_range(value: Any) -> bool:
    """Say whether a value looks as if it were the range or the choices of a parameter."""
    if isinstance(value, Mapping):
        return bool(_RANGE & value.keys())
    return isinstance(value, list | tuple) and not any(isinstance(one, Mapping) for one in value)
