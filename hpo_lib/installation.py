"""What this installation offers: backends, deployers, places for artifacts, and bounds.

`Environment` reads it, free of Airflow, from a file and from variables of the environment:

HPO_HOME         folder for attempts and reports (AIRFLOW_HOME/hpo)
HPO_ROOT         where local trials run, and config/ is looked for (the checkout, or AIRFLOW_HOME)
HPO_TRIAL_DIR    where local trials run, if elsewhere
HPO_TRIAL_ROOTS  other folders, with : between them, below which a conf's trial.dir, python and venv
                 may lie (none)
HPO_DATA         folder that local trials are told, and in which `reuse` looks for their data
HPO_TRIAL_PATH   put before the trials' PATH (.venv-trial/bin in HPO_ROOT, if it exists)
HPO_GRACE_S      seconds that a local trial survives without its Airflow task (600)
HPO_MAX_WAVES    waves of a DAG such as `hpo_local_waves` (10)
HPO_MAX_PARALLEL trials that a run of a conf-triggered DAG has at once (`capacity` in the file
                 HPO_CONFIG, else 32)
HPO_CONFIG       file that says what a conf may ask of the backends: config/deployment.yaml in
                 HPO_ROOT, else hpo/deployment.yaml in AIRFLOW_HOME, else the defaults hold
HPO_EXPERIMENTS  folder of the files that get a DAG each: config/experiments in HPO_ROOT, else
                 hpo/experiments in AIRFLOW_HOME

In the file HPO_CONFIG, `teams` says what each team has for itself; what it does not say is the
installation's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from hpo_lib import registry
from hpo_lib.backends import Backend, Site
from hpo_lib.backends.connections import Connections, NoConnections
from hpo_lib.core.notices import NotifyRule
from hpo_lib.core.shares import Shares, capacity_of
from hpo_lib.core.teams import Retention, Team, retention_of, teams_of
from hpo_lib.core.trial import Trial
from hpo_lib.deployers import Deployer
from hpo_lib.errors import HpoError, SpecError, nearest
from hpo_lib.exporters.targets import targets_of
from hpo_lib.files import artifacts, shipped
from hpo_lib.files.artifacts import Offers, Options
from hpo_lib.records import Run, spec_of
from hpo_lib.spec import Spec
from hpo_lib.spec.airflow_section import AirflowRules
from hpo_lib.spec.yaml_core import operators
from hpo_lib.validation import Strict, parse, shown

_Rules = TypeVar("_Rules", bound=Strict)
#: Sections of config/deployment.yaml that a team may have for itself, beside those of backends.
_SECTIONS = (
    *("airflow", "artifacts", "deployers", "exports", "inputs", "notify"),
    *("job", "kubernetes", "mlflow", "sagemaker", "serve"),
)
#: What else it has.
_VALUES = ("capacity", "retention_days", "teams")
#: As many as Airflow runs at once, unless it is told otherwise.
_AT_ONCE = 32


def _no_deployer(spec: Spec, store: str) -> Deployer:  # noqa: ARG001 - what others are like
    raise SpecError("deploy.to: nothing can be deployed from here")


def _for_ever() -> None:
    """Say that nothing is deleted."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where a spec's data and code may lie: folders of this machine, and URIs with their options.

    A relative path is looked for in one folder after the other.
    """

    folders: Sequence[Path] = ()
    offers: Offers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Installation:
    """What this installation offers a team: folder for results, how wide and long a DAG may be.

    `artifacts` are URIs below which a spec's artifacts may lie, with their storage options;
    `inputs` is where the data and code that a spec declares may lie, `config` the digest of
    config/deployment.yaml. `team` is empty for what belongs to no team, `teams` are all there are,
    `elsewhere` gives the same for another team. `retention` says how long the team's ended runs are
    kept, None for ever, `exports` where they are brought to, by the names of exporters; SpecError.
    """

    home: Path
    backends: Mapping[str, Callable[[], Backend]]
    max_waves: int = 40
    max_parallel: int = _AT_ONCE
    artifacts: artifacts.Offers = field(default_factory=dict)
    deployers: Callable[[Spec, str], Deployer] = _no_deployer
    inputs: Inputs = field(default_factory=Inputs)
    config: str = ""
    placing: AirflowRules = field(default_factory=AirflowRules)
    team: str = ""
    teams: Mapping[str, Team] = field(default_factory=dict)
    elsewhere: Callable[[str], Installation] | None = None
    retention: Callable[[], Retention | None] = _for_ever
    exports: Callable[[], Mapping[str, str]] = dict

    def of(self, team: str) -> Installation:
        """Give what is offered to a team, be it one that the operator no longer names."""
        return self if self.elsewhere is None or team == self.team else self.elsewhere(team)

    @property
    def may(self) -> Team:
        """What the operator says of the team; of no team, nothing."""
        return self.teams.get(self.team, Team())

    def deployer(self, spec: Spec, store: str = "") -> Deployer:
        """Build what `deploy` names, for a store; SpecError if it is not there or not allowed."""
        return self.deployers(spec, store)

    def backend(self, spec: Spec) -> Backend:
        """Build the backend that the spec names; HpoError if it is not there."""
        if spec.trial.backend not in self.backends:
            there = ", ".join(sorted(self.backends))
            whose = f" for team {self.team}" if self.team else ""
            raise HpoError(f"backend {spec.trial.backend} is not there{whose}; there are: {there}")
        return self.backends[spec.trial.backend]()


def backend_of(run: Run, trial: Trial, installation: Installation) -> Backend:
    """Build the backend that runs this trial of the run."""
    return installation.of(run.team).backend(spec_of(run, trial))


@dataclass(frozen=True, slots=True)
class Environment:
    """The Site that an operator has set up: see the top of this module.

    `root` is HPO_ROOT, or what stands in for it. Everything is read when it is asked for. For a
    `team`, its part of the file goes before the installation's.
    """

    root: Path
    connections: Connections = field(default_factory=NoConnections)
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ)
    team: str = ""

    @property
    def home(self) -> Path:
        """The folder for attempts and reports."""
        return Path(self.variables.get("HPO_HOME") or self._in_airflow).absolute()

    @property
    def experiments(self) -> Path:
        """The folder of the files that get a DAG each."""
        named = self.variables.get("HPO_EXPERIMENTS")
        return Path(named) if named else self._set_up("experiments")

    @property
    def workdir(self) -> Path:
        """The folder in which local trials run."""
        return Path(self.variables.get("HPO_TRIAL_DIR") or self.root)

    @property
    def roots(self) -> Sequence[Path]:
        """The folders, besides `workdir`, below which a conf may have local trials run."""
        named = self.variables.get("HPO_TRIAL_ROOTS", "").split(os.pathsep)
        return tuple(Path(one) for one in named if one)

    @property
    def path(self) -> str:
        """What local trials find before the worker's own PATH."""
        return self.variables.get("HPO_TRIAL_PATH") or str(self.root / ".venv-trial" / "bin")

    @property
    def grace_s(self) -> float:
        """How long, in seconds, a local trial survives without its Airflow task."""
        return float(self.variables.get("HPO_GRACE_S", "600"))

    @property
    def max_waves(self) -> int:
        """The number of waves that conf-triggered DAGs unroll."""
        return int(self.variables.get("HPO_MAX_WAVES", "10"))

    @property
    def max_parallel(self) -> int:
        """The number of trials that a run of a conf-triggered DAG has at once; SpecError.

        If nobody has said so, it is what the installation has places for, else what Airflow runs.
        """
        told = self.variables.get("HPO_MAX_PARALLEL")
        return int(told) if told else self._capacity or _AT_ONCE

    @property
    def offers(self) -> Offers:
        """The URIs below which artifacts may lie, with their storage options."""
        return self._offers("artifacts")

    @property
    def inputs(self) -> Inputs:
        """Where a spec's data and code may lie: the folder of local trials, HPO_DATA, and URIs."""
        data = self.variables.get("HPO_DATA")
        folders = [self.workdir, *([Path(data)] if data else [])]
        return Inputs(folders, self._offers("artifacts", "inputs"))

    @property
    def digest(self) -> str:
        """The first digits of the hash of config/deployment.yaml; empty if there is none."""
        path = self.deployment
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.exists() else ""

    def check(self) -> None:
        """Refuse what no run reads, or only some day: unknown keys, and how long runs are kept.

        SpecError; also for the rest of config/deployment.yaml but the backends' and deployers' own.
        """
        known = (*_SECTIONS, *_VALUES, *registry.backends())
        for key in self._config().keys() - set(known):
            what = f"config/deployment.yaml: unknown key {shown(key)}{nearest(str(key), known)}"
            raise SpecError(f"{what}; known: {', '.join(sorted(known))}, and those of HPO_BACKENDS")
        for team in ("", *self.teams):
            site = replace(self, team=team)
            _ = site.shares, site.retention, site.placing, site.notify, site.exports

    def rules(self, section: str, kind: type[_Rules]) -> _Rules:
        """Read what a conf may ask of a backend or a deployer; SpecError."""
        config, own = self._config(), self._own_config()
        said = {**(config.get(section) or {}), **(own.get(section) or {})}
        whose = f"teams.{self.team}." if section in own else ""
        found = parse(kind, said, at=f"config/deployment.yaml: {whose}{section}")
        if "connection" in kind.model_fields:
            self._check_connection(getattr(found, "connection", None))
        return found

    def is_set_up(self, backend: str) -> bool:
        """Say whether there is to be a DAG for a backend: whether the file has its section.

        Backends that need nothing but Airflow need no section.
        """
        row = registry.backends()[backend]
        return not row.is_optional or backend in self._config() or backend in self._own_config()

    @property
    def teams(self) -> dict[str, Team]:
        """The teams that the operator names; SpecError."""
        at = "config/deployment.yaml: teams"
        return teams_of(self._config().get("teams"), (*_SECTIONS, *registry.backends()), at)

    @property
    def placing(self) -> AirflowRules:
        """What holds for all DAGs, and what a file may ask Airflow for; SpecError."""
        return self.rules(AirflowRules.section, AirflowRules)

    @property
    def notify(self) -> dict[str, NotifyRule]:
        """Whom to tell what, by the names of the rules; SpecError."""
        said = {**(self._config().get("notify") or {}), **(self._own_config().get("notify") or {})}
        at = "config/deployment.yaml: notify"
        return {name: parse(NotifyRule, one, at=f"{at}.{name}") for name, one in said.items()}

    @property
    def shares(self) -> Shares | None:
        """How trials share what there is; None if every one may begin at once. SpecError."""
        found = Shares(self._capacity, self.teams)
        return found if found.decide else None

    @property
    def _capacity(self) -> int | None:
        """How many trials may run at once, of all runs; None if nobody has said so. SpecError."""
        return capacity_of(self._config().get("capacity"))

    @property
    def retention(self) -> Retention | None:
        """How long the team's ended runs are kept, by its own word or else the installation's.

        None: for ever. SpecError.
        """
        own = "retention_days" in self._own_config()
        days = (self._own_config() if own else self._config()).get("retention_days")
        return retention_of(days, f"teams.{self.team}.retention_days" if own else "retention_days")

    @property
    def exports(self) -> dict[str, str]:
        """Where ended runs are brought to, by the names of exporters; SpecError."""
        at, own = "config/deployment.yaml: ", self._own_config().get("exports")
        found = targets_of(self._config().get("exports"), f"{at}exports")
        found |= targets_of(own, f"{at}teams.{self.team}.exports")
        return {name: target for name, target in found.items() if target}

    @property
    def may(self) -> Team:
        """What the operator says of the team; of no team, nothing."""
        return self.teams.get(self.team, Team())

    def cluster(self, connection: str | None) -> Any:
        """Make a client of Kubernetes."""
        self._check_connection(connection)
        return self.connections.cluster(connection)

    def aws(self, connection: str | None, region: str | None, service: str) -> Any:
        """Make a client of one of Amazon's services."""
        self._check_connection(connection)
        return self.connections.aws(connection, region, service)

    def _storage_options(self, connection: str) -> Options:
        self._check_connection(connection)
        return self.connections.storage_options(connection)

    def _check_connection(self, connection: str | None) -> None:
        """Keep a team to the connections that it may use, if the operator names any."""
        allowed = self.may.connections
        if allowed is not None and connection not in allowed:
            raise SpecError(
                f"connection {connection or 'of this machine'}: team {self.team} may use "
                f"{', '.join(allowed) or 'none'}"
            )

    def _offers(self, *sections: str) -> Offers:
        """Give the places of sections; a team's own section stands in place of the common one."""
        said = {**self._config(), **self._own_config()}
        places = {uri: name for one in sections for uri, name in (said.get(one) or {}).items()}
        return artifacts.offers(places, self._storage_options)

    def _own_config(self) -> Mapping[str, Any]:
        """Read what the team's part of the file says of the installation's sections."""
        return {} if self.team not in self.teams else self._config()["teams"][self.team] or {}

    @property
    def deployment(self) -> Path:
        """The file that says what a conf may ask for, be it there or not."""
        named = self.variables.get("HPO_CONFIG")
        return Path(named) if named else self._set_up("deployment.yaml")

    @property
    def _in_airflow(self) -> Path:
        return shipped.airflow_home(self.variables) / "hpo"

    def _set_up(self, name: str) -> Path:
        """Find a part of the configuration: in config/ of the root, else in Airflow's home."""
        near = self.root / "config" / name
        return near if near.exists() else self._in_airflow / name

    def _config(self) -> dict[str, Any]:
        path = self.deployment
        if not path.exists():
            return {}
        return _parsed(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=4)
def _parsed(text: str) -> dict[str, Any]:
    """Parse the file once as long as it stays the same: each team and backend asks for it."""
    return operators(text, at="config/deployment.yaml") or {}


def installation_of(
    environment: Environment,
    deployers: Callable[[Environment, Spec, str], Deployer] = lambda _, *it: _no_deployer(*it),
) -> Installation:
    """Put together what an operator has set up, with every backend that is registered.

    A team has those backends that the operator leaves it.
    """
    names = filter(environment.may.may_have, registry.backends())
    return Installation(
        home=environment.home,
        backends={name: partial(built, name, environment) for name in names},
        max_waves=environment.max_waves,
        max_parallel=environment.max_parallel,
        artifacts=environment.offers,
        deployers=partial(deployers, environment),
        inputs=environment.inputs,
        config=environment.digest,
        placing=environment.placing,
        team=environment.team,
        teams=environment.teams,
        elsewhere=lambda team: installation_of(replace(environment, team=team), deployers),
        retention=lambda: environment.retention,
        exports=lambda: environment.exports,
    )


def built(name: str, site: Site) -> Backend:
    """Build a backend by its name; SpecError if there is none, or its rules are wrong."""
    kind: type[Backend] = registry.load("backend", name)
    promised = {*vars(Backend), *Backend.__annotations__}
    lacking = sorted(one for one in promised if one[0] != "_" and not hasattr(kind, one))
    if lacking:
        raise SpecError(f"trial.backend: the class of {name} lacks {', '.join(lacking)}")
    try:
        return kind.at(site)
    except HpoError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise SpecError(f"trial.backend: {name} cannot be built: {why}") from error
