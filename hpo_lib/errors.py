"""Errors, named by what the caller should do about them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

#: So many names are hinted at; of a longer name no more letters are compared.
_MOST_HINTS, _MOST_LETTERS = 3, 100


class HpoError(Exception):
    """Base of every error of this project."""


class SpecError(HpoError, ValueError):
    """The spec is wrong: tell the user, never retry.

    The message names path, rule and value, one problem a line.
    """


class StoreError(HpoError, RuntimeError):
    """The store cannot be used as it is: an operator has to act (upgrade, address, permission)."""


class TransientError(HpoError, RuntimeError):
    """The world failed, not the trial: try the same thing again, after `after_s` if that is set."""

    def __init__(self, message: str, *, after_s: float | None = None) -> None:
        """Take the message and how long to wait."""
        super().__init__(message)
        self.after_s = after_s


class AnotherAttempt(TransientError):
    """An attempt failed by what may pass, and is recorded: its trial has another one."""


class NoPlace(TransientError):
    """All places for trials are taken: the trial waits, ask again within seconds."""


class TrialFailed(HpoError, RuntimeError):
    """The trial itself failed: its cause is recorded and the experiment goes on."""


class PartFailed(HpoError, RuntimeError):
    """A sampler or scheduler raised, or answered what it must not: the run stops, for this."""


class AlreadyFinished(HpoError, ValueError):
    """The trial or its run has ended: there is nothing left to start; read what became of it."""


class Superseded(HpoError, ValueError):
    """The champion is not the one that a model was compared with: compare again, do not promote."""


class NotFound(HpoError, KeyError):
    """What was asked for is not in the store."""

    def __str__(self) -> str:
        """Give the message itself, where KeyError would give its repr."""
        return str(self.args[0]) if self.args else ""


def joined(problems: Iterable[str]) -> str:
    """Join problems to the message of an error: each stays one line, whatever a conf has put in."""
    return "\n".join(map(printable, problems))


def needs(package: str, extra: str) -> str:
    """Say that a package is needed, and how to get it."""
    return f"needs {package}: pip install '.[{extra}]' in a checkout of hpo-lib"


def printable(text: str) -> str:
    """Escape what would break a line or not be seen on it."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def nearest(name: str, known: Iterable[str]) -> str:
    """Give ", did you mean 'x'?" for the known name that this one may stand for, or nothing.

    It is the same word in another spelling, else what other tools call so, else the closest.
    """
    listed = [str(one) for one in known]
    close = meant(name, listed) or _closest(name, listed)
    return f", did you mean {_quoted(close[0])}?" if close else ""


def misspelt(name: str, known: Sequence[str]) -> str | None:
    """Give the known name that this one is by a slip of the finger; None if it may be another."""
    word = _letters(name[:_MOST_LETTERS])
    slips = [one for one in _closest(name, known) if _is_slip(name, one)]
    close = [one for one in known if word and _letters(one) == word] or slips
    return close[0] if close and meant(name, known) in ([], close) else None


def _is_slip(one: str, other: str) -> bool:
    """Say whether one letter is more, less or another, or two have changed places."""
    same = (mine == theirs for mine, theirs in zip(one, other, strict=False))
    at = next((n for n, alike in enumerate(same) if not alike), min(len(one), len(other)))
    rest, wanted = one[at:], other[at:]
    swapped = rest[1:2] + rest[:1] + rest[2:]
    return wanted in (rest[1:], swapped) or wanted[1:] in (rest, rest[1:])


def _closest(name: str, known: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(name[:_MOST_LETTERS], known, n=1)


def meant(name: str, known: Collection[str]) -> list[str]:
    """Give the known names that are this one in another spelling, or that other tools call so."""
    word = _letters(name[:_MOST_LETTERS])
    same = [one for one in known if word and _letters(one) == word]
    return same or [one for one in _MEANT.get(word, ()) if one.partition(" ")[0] in known]


@lru_cache(maxsize=4096)
def _letters(name: str) -> str:
    """Leave out a name's case, and the marks between its words."""
    return "".join(one for one in name.lower() if one.isalnum())


def _quoted(close: str) -> str:
    name, blank, remark = close.partition(" ")
    return f"{name!r}{blank}{remark}"


#: Of longer names, no more letters are compared.
_MOST_LETTERS = 100
#: Our keys and values, some with a remark, and what Katib, SageMaker, Vizier, Optuna, Ray Tune,
#: W&B, Hyperopt, NNI and Kubernetes call them, in small letters. Of several the first counts that
#: is known where the word stands.
_CALLED = {
    # Directions and other values.
    "maximize": "max maximise maximum maximization maximisation higher greater increase up",
    "minimize": "min minimise minimum minimization minimisation lower smaller less decrease down",
    "last": "latest final",
    "best": "max min",
    "log": "logarithmic loguniform log2 log10 ln geometric unitlogscale",
    "reverse_log": "reverselogarithmic unitreverselogscale",
    "linear": "uniform lin unitlinearscale",
    # Types of parameters.
    "float": "double real uniform continuous number floatdistribution",
    "float (with step: …)": "quniform",
    "float (with scale: log)": "loguniform logarithmic log reciprocal",
    "float (with scale: log and step: …)": "qloguniform",
    "float (with distribution: normal)": "normal randn gaussian norm",
    "float (with distribution: normal and step: …)": "qnormal qrandn",
    "float (with distribution: lognormal)": "lognormal lognorm",
    "float (with distribution: lognormal and step: …)": "qlognormal",
    "int": "integer randint qrandint long intdistribution",
    "int (with scale: log)": "lograndint qlograndint",
    "categorical": "choice choices category cat select string str bool boolean enum nominal",
    "ordinal": "discrete ordered",
    # Samplers, backends, deployers.
    "bayesian": "bayesianoptimization bayesopt bayes bo",
    "random": "randomsearch",
    "grid": "gridsearch",
    "tpe": "tpesampler hyperopttpe multivariatetpe",
    "gp": "gaussianprocess gpsampler",
    "cmaes": "cma cmaessampler",
    "nsga2": "nsga nsgaii",
    "de": "differentialevolution dehb",
    "evolution": "regularizedevolution regularisedevolution agingevolution evolutiontuner enas "
    "genetic geneticalgorithm",
    "qmc": "quasirandom halton quasimontecarlo",
    "kubernetes": "k8s kube pod",
    "docker": "container podman",
    "ecs": "fargate aws",
    "job": "tfjob pytorchjob mpijob kubeflow",
    "local": "process subprocess",
    "package": "zip file folder",
    "sagemaker": "aws endpoint",
    # Sections.
    "objective": "objectives goal studyobjective",
    "space": "parameters params hyperparameters hyperparams hparams searchspace paramspace "
    "parameterspace parameterranges paramgrid paramdistributions distributions configspace",
    "fixed": "constants static staticparameters staticparams statichyperparameters fixedparams "
    "fixedparameters",
    "initial_points": "pointstoevaluate baselineconfig startingpoints default initial",
    "sampler": "algorithm algo tuner searcher searchalg searchalgorithm suggester suggestion "
    "samplingalgorithm method strategy",
    "scheduler": "pruner earlystopping earlystoppingalgorithm stopper",
    "trial": "trialtemplate trialjob trainingjob trainingjobdefinition training task",
    "extra_metrics": "additionalmetricnames additionalmetrics",
    "constraints": "outcomeconstraints constraint",
    "final": "finaltraining retrain",
    "deploy": "deployment serving serve",
    "warm_start": "warmstartconfig",
    # Keys of the sections.
    "to": "type kind deployer destination",
    "backend": "type kind executor",
    "direction (or target, if it is a number)": "goal",
    "direction": "mode type optimizationtype objectivetype sense optimize",
    "metric": "objectivemetricname objectivemetric primarymetric metricname metricid monitor name "
    "hyperparametermetrictag",
    "max_trials": "maxtrialcount maxevals ntrials numtrials trials numsamples maxtotaltrials niter "
    "maxtrialnumber maxnumberoftrainingjobs runcap budget",
    "parallel_trials": "paralleltrialcount maxparalleltrialcount maxparalleltrials maxconcurrent "
    "maxconcurrenttrials trialconcurrency concurrency parallelism parallel njobs "
    "maxparalleltrainingjobs",
    "max_failed_trials": "maxfailedtrialcount maxfailures maxfailed",
    "max_duration": "timeout maxtime timebudget timebudgets walltime maxexperimentduration "
    "maxruntime maxruntimeinseconds",
    "timeout": "maxtime walltime maxruntime maxruntimeinseconds maxtrialduration "
    "activedeadlineseconds",
    "patience": "earlystopping maxnumberoftrainingjobsnotimproving",
    "command": "cmd program script entrypoint trialcommand",
    "args": "arguments argv",
    "env": "environment envvars environmentvariables",
    "image": "containerimage dockerimage trainingimage",
    "memory (with cpu and gpu beside it)": "limits requests",
    "memory": "mem ram memorylimit",
    "cpu": "cpus ncpu numcpus vcpu vcpus cores",
    "gpu": "gpus ngpu ngpus numgpus nvidiacomgpu accelerators",
    "spot": "preemptible interruptible enablemanagedspottraining",
    "collector": "collectorkind kind",
    "format": "regex pattern logformat filter metricdefinitions",
    "path": "filesystempath file filename",
    "uri": "url location bucket s3outputpath",
    "cron": "crontab scheduleinterval",
    "timezone": "tz zone",
    "assets": "asset datasets dataset",
    "seeds": "repeats repetitions replicates nseeds",
    "seed": "randomstate randomseed rngseed",
    "name": "algorithm algo algorithmname experimentname studyname study displayname",
    # Keys of a parameter.
    "low (with high beside it, or choices)": "feasiblespace bounds range interval",
    "low": "min minimum minvalue lower lowerbound lo",
    "high": "max maximum maxvalue upper upperbound hi",
    "step": "stepsize stepvalue q increment",
    "choices": "values value list categories categoricalvalues discretevalues options items",
    "scale (scale: log)": "log logscale islog",
    "scale": "scaling scalingtype scaletype base",
    "distribution": "prior",
    "mu": "mean loc",
    "sigma": "sd std stddev stdev",
    "type": "parametertype paramtype kind dtype classname",
    "when": "condition conditions conditional parent dependson activeif",
}
_MEANT: dict[str, list[str]] = {}
for _ours, _words in _CALLED.items():
    for _word in _words.split():
        _MEANT.setdefault(_word, []).append(_ours)
