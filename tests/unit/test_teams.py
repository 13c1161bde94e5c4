"""Teams: whose a DAG is, what the operator's file says of each, and how their own is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.backends.connections import NoConnections
from hpo_lib.backends.docker import DockerBackend
from hpo_lib.backends.ecs_request import EcsRules
from hpo_lib.backends.pod_rights import KubernetesRules
from hpo_lib.core.teams import Retention, Team, own_name, owner_of, team_of, within
from hpo_lib.deployers.manifests import ServeRules, label
from hpo_lib.deployers.mlflow_options import MlflowRules
from hpo_lib.deployers.sagemaker_request import SageMakerOptions, SageMakerRules, permitted
from hpo_lib.errors import HpoError, SpecError
from hpo_lib.installation import Environment, built, installation_of
from hpo_lib.runs.scheduled_files import scheduled_files
from hpo_lib.spec import load
from tests.unit import factories

CONFIG = """
artifacts: {s3://common: aws_default}
docker: {images: [common/*], network: none}
teams:
  vision:
    dags: ["vision_*"]
    backends: [local, docker]
    connections: [aws_vision]
    docker: {images: [vision/*]}
    artifacts: {s3://vision: aws_vision, s3://leak: aws_default}
    shares_with: [nlp]
  nlp:
"""
TEAMS = {"vision": Team(dags=("vision_*", "both_*")), "nlp": Team(dags=("both_*",))}
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}", fullmatch=True)
experiments = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "deployment.yaml").write_text(CONFIG)
    return tmp_path


def at(root: Path, team: str = "") -> Environment:
    return Environment(root, variables={}, team=team)


@given(names, experiments)
def test_a_full_name_can_be_taken_apart(team: str, experiment: str) -> None:
    full = within(team, experiment)
    assert (owner_of(full), own_name(full)) == (team, experiment)
    assert (owner_of(experiment), own_name(experiment)) == ("", experiment)
    assert within("", experiment) == experiment


@pytest.mark.parametrize(
    ("dag_id", "tags", "of_airflow", "team"),
    [
        ("hpo_local", ["hpo", "local"], None, ""),
        ("hpo_vision.local", ["hpo", "team:vision"], None, "vision"),  # a tag
        ("vision_nightly", [], None, "vision"),  # a pattern
        ("vision_nightly", ["team:vision"], "vision", "vision"),  # all three agree
        ("mine", [], "nlp", "nlp"),  # the bundle's
    ],
)
def test_a_dag_is_a_teams_by_bundle_tag_or_name(
    dag_id: str, tags: list[str], of_airflow: str | None, team: str
) -> None:
    assert team_of(dag_id, tags, TEAMS, of_airflow) == team


@pytest.mark.parametrize(
    ("dag_id", "tags", "of_airflow", "why"),
    [
        ("hpo_local", ["team:vision"], "nlp", "of one team, is of nlp and vision"),
        ("vision_x", ["team:nlp"], None, "of one team, is of nlp and vision"),
        ("both_x", [], None, "of one team, is of nlp and vision"),
        ("hpo_local", ["team:nobody"], None, "tag team:nobody, and .* names no such team"),
        ("mine", [], "audio", "Airflow's team audio, and .* names no such team"),
    ],
)
def test_a_dag_of_two_teams_is_refused(
    dag_id: str, tags: list[str], of_airflow: str | None, why: str
) -> None:
    with pytest.raises(SpecError, match=why):
        team_of(dag_id, tags, TEAMS, of_airflow)


def test_a_teams_part_of_the_file_goes_before_the_installations(root: Path) -> None:
    vision, nlp = built("docker", at(root, "vision")), built("docker", at(root, "nlp"))
    assert isinstance(vision, DockerBackend)
    assert isinstance(nlp, DockerBackend)
    assert (vision.rules.images, vision.rules.network) == (("vision/*",), "none")
    assert (nlp.rules.images, nlp.rules.network) == (("common/*",), "none")
    assert set(at(root, "vision").offers) == {"s3://vision", "s3://leak"}
    assert set(at(root, "nlp").offers) == set(at(root).offers) == {"s3://common"}


def test_a_team_has_the_backends_that_it_is_left(root: Path) -> None:
    found = installation_of(at(root))
    assert set(found.of("vision").backends) == {"local", "docker"}
    assert found.of("nlp").backends.keys() == found.backends.keys()
    spec = load(factories.SPEC | {"trial": {"backend": "ecs", "command": ["x"], "image": "i"}})
    with pytest.raises(HpoError, match="ecs is not there for team vision; there are: docker, loc"):
        found.of("vision").backend(spec)
    assert found.of("vision").of("").team == ""


class Leads(NoConnections):
    def storage_options(self, connection: str) -> Any:
        return {"key": connection}


def test_where_the_file_names_no_team_those_of_airflow_are_taken() -> None:
    assert team_of("mine", [], {}, "audio") == "audio"


@pytest.mark.parametrize("section", ["kubernetes", "mlflow", "sagemaker", "ecs", "serve"])
def test_a_team_gets_no_rules_with_a_connection_that_it_may_not_use(
    root: Path, section: str
) -> None:
    kinds = {
        "ecs": EcsRules,
        "kubernetes": KubernetesRules,
        "mlflow": MlflowRules,
        "sagemaker": SageMakerRules,
        "serve": ServeRules,
    }
    kind = kinds[section]
    with pytest.raises(SpecError, match="team vision may use aws_vision"):
        at(root, "vision").rules(section, kind)
    at(root, "nlp").rules(section, kind)


def test_a_team_is_kept_to_its_connections(root: Path) -> None:
    site = Environment(root, Leads(), {}, "vision")
    assert site.offers["s3://vision"]() == {"key": "aws_vision"}
    for use in (
        site.offers["s3://leak"],
        lambda: site.aws("aws_default", None, "s3"),
        lambda: site.cluster(None),
    ):
        with pytest.raises(SpecError, match="team vision may use aws_vision"):
            use()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("teams: [vision]", "teams: must be a mapping"),
        ("teams: {vision: 3}", "teams.vision: must be a mapping, got 3"),
        ("teams: {vi.sion: {}}", "teams: a team must be letters, digits"),
        ("teams: {vision: {queu: gpu}}", 'teams.vision: unknown key "queu", did you mean .queue'),
        ("teams: {vision: {docker: [x]}}", "teams.vision.docker: must be a mapping"),
        ("teams: {vision: {quotas: {gpus: 3}}}", 'teams.vision.quotas: unknown key "gpus"'),
        ("teams: {vision: {weight: 0}}", "teams.vision.weight: must be greater than 0"),
        ("teams: {vision: {shares_with: [a b]}}", "teams.vision.shares_with: a team must be"),
        ("teams: {vision: {roles: {Vision: owner}}}", "teams.vision.roles.Vision: must be "),
        ("teams: {vision: {roles: [Vision]}}", "teams.vision.roles: must be a mapping"),
        ("teams: {vision: {retention_days: 0}}", "teams.vision.retention_days: must be greater"),
        ("teams: {vision: {retention_days: 1.5}}", "teams.vision.retention_days: must be a whole"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(root: Path, said: str, why: str) -> None:
    (root / "config" / "deployment.yaml").write_text(said)
    with pytest.raises(SpecError, match=f"^config/deployment.yaml: {why}"):
        _ = at(root).teams


@pytest.mark.parametrize(
    ("said", "team", "rule"),
    [
        ("", "vision", None),
        ("retention_days: 90", "", Retention(90, "retention_days")),
        ("retention_days: 90\nteams: {vision: {weight: 2}}", "vision", "retention_days: 90"),
        ("retention_days: 90\nteams: {nlp: {}}", "vision", "retention_days: 90"),
        ("teams: {vision: {retention_days: 7}}", "vision", "teams.vision.retention_days: 7"),
        ("teams: {vision: {retention_days: 7}}", "", None),
        ("teams: {vision: {retention_days: 7}}", "nlp", None),
        ("retention_days: 90\nteams: {vision: {retention_days: null}}", "vision", None),
        ("retention_days: null", "", None),
    ],
)
def test_a_team_s_own_retention_goes_before_the_installation_s(
    root: Path, said: str, team: str, rule: Retention | str | None
) -> None:
    (root / "config" / "deployment.yaml").write_text(said)
    found = installation_of(at(root)).of(team).retention()
    assert (str(found) if isinstance(rule, str) else found) == rule


@pytest.mark.parametrize("days", ["0", "-3", "1.5", "true", "'30'", "36501", "[30]"])
def test_a_retention_that_is_no_number_of_days_is_told_and_stops_no_run(
    root: Path, days: str
) -> None:
    (root / "config" / "deployment.yaml").write_text(f"retention_days: {days}")
    found = installation_of(at(root))
    rule = "must be a whole number from 1 to 36,500, got "
    with pytest.raises(SpecError, match=f"^config/deployment.yaml: retention_days: {rule}"):
        found.retention()


def test_a_wrong_section_is_told_as_the_teams(root: Path) -> None:
    (root / "config" / "deployment.yaml").write_text("teams: {vision: {docker: {image: x}}}")
    with pytest.raises(SpecError, match=r'yaml: teams\.vision\.docker: unknown key "image"'):
        built("docker", at(root, "vision"))
    assert built("docker", at(root, "nlp"))


def test_what_serves_a_teams_model_has_a_name_of_its_own() -> None:
    found = {label(name) for name in ("vision.churn", "vision-churn", "Vision.churn", "churn")}
    assert len(found) == 4
    assert label("vision.churn").startswith("vision-churn-")
    rules = SageMakerRules(images=("i",), roles=("arn:aws:iam::123456789012:role/x",))
    named = permitted("vision.churn", SageMakerOptions(), rules)["endpoint"]
    assert named.startswith("vision-churn-")
    assert permitted("churn", SageMakerOptions(), rules)["endpoint"] == "churn"


SCHEDULED = """
name: churn
objective: {metric: loss, direction: minimize}
space: {x: {type: float, low: 0.0, high: 1.0}}
trial: {command: [python, train.py]}
schedule: {cron: "0 3 * * *"}
"""


def test_a_teams_files_are_in_its_folder(tmp_path: Path) -> None:
    for place in ("churn.yaml", "vision/churn.yaml", "other/churn.yaml"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(SCHEDULED)
    found = {one.dag_id: (one.team, one.name) for one in scheduled_files(tmp_path, None, TEAMS)}
    assert found == {
        "hpo_scheduled_churn": ("", "churn.yaml"),
        "hpo_scheduled_vision.churn": ("vision", "vision/churn.yaml"),
    }
    (tmp_path / "vision" / "churn.yaml").write_text("name: [")
    (broken,) = scheduled_files(tmp_path, "hpo_scheduled_vision.churn", TEAMS)
    assert (broken.team, bool(broken.error)) == ("vision", True)
