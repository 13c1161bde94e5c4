"""What an operator has set up, as variables and a file say it, and backends built of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_airflow import settings
from hpo_lib.backends.docker import DockerBackend
from hpo_lib.backends.kubernetes import KubernetesBackend
from hpo_lib.backends.local import LocalBackend
from hpo_lib.errors import SpecError
from hpo_lib.files import shipped
from hpo_lib.installation import Environment, built, installation_of
from hpo_lib.registry import BACKENDS, load

CONFIG = """
artifacts: {s3://bucket: aws_default, file:///shared: null}
inputs: {s3://data: aws_default}
docker: {images: [an-image]}
kubernetes: {connection: a-cluster, namespaces: [trials]}
local: {environment: [WANDB_MODE]}
job: {kinds: [kubeflow.org/v1/TFJob]}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "deployment.yaml").write_text(CONFIG)
    return tmp_path


def test_without_anything_said_the_defaults_hold(tmp_path: Path) -> None:
    found = Environment(tmp_path, variables={"AIRFLOW_HOME": str(tmp_path / "a")})
    assert (found.home, found.workdir) == (tmp_path / "a" / "hpo", tmp_path)
    assert found.path == str(tmp_path / ".venv-trial" / "bin")
    assert (found.grace_s, found.max_waves, found.max_parallel) == (600.0, 10, 32)
    assert found.offers == {}
    assert found.inputs.folders == [tmp_path]


def test_variables_win(tmp_path: Path) -> None:
    said = {
        "HPO_HOME": str(tmp_path / "home"),
        "HPO_TRIAL_DIR": str(tmp_path / "work"),
        "HPO_TRIAL_PATH": "/opt/bin",
        "HPO_GRACE_S": "5",
        "HPO_MAX_WAVES": "3",
        "HPO_MAX_PARALLEL": "2",
        "HPO_DATA": str(tmp_path / "data"),
    }
    found = installation_of(Environment(tmp_path, variables=said))
    assert (found.home, found.max_waves, found.max_parallel) == (tmp_path / "home", 3, 2)
    assert found.inputs.folders == [tmp_path / "work", tmp_path / "data"]
    local = found.backends["local"]()
    assert local == LocalBackend(tmp_path / "home", tmp_path / "work", "/opt/bin", 5.0)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_builds_itself_without_a_connection(name: str, root: Path) -> None:
    made = built(name, Environment(root, variables={}))
    assert type(made) is load("backend", name)


def test_backends_take_their_rules_from_the_file(root: Path) -> None:
    site = Environment(root, variables={})
    docker, pods, local = (built(name, site) for name in ("docker", "kubernetes", "local"))
    assert isinstance(docker, DockerBackend)
    assert isinstance(pods, KubernetesBackend)
    assert docker.rules.images == ("an-image",)
    assert isinstance(local, LocalBackend)
    assert local.rules.environment == ("WANDB_MODE",)
    assert pods.rules.namespaces == ("trials",)
    assert set(pods.offers) == {"s3://bucket", "file:///shared"}
    assert set(site.inputs.offers) == {"s3://bucket", "file:///shared", "s3://data"}


def test_what_is_wrong_in_the_file_is_told(root: Path) -> None:
    (root / "config" / "deployment.yaml").write_text("docker: {image: x}")
    with pytest.raises(SpecError, match=r'config/deployment\.yaml: docker: unknown key "image"'):
        built("docker", Environment(root, variables={}))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("retention_dayz: 3", "unknown key \"retention_dayz\", did you mean 'retention_days'?"),
        ("retention_days: a week", "retention_days: must be a whole number from 1 to 36,500, got"),
        (
            "retention_days: 0.01",
            "retention_days: must be a whole number from 1 to 36,500, got 0.01",
        ),
        ("teams: {vision: {retention_days: -3}}", "teams.vision.retention_days: must be gr"),
        ("capacity: many", 'capacity: must be a whole number > 0, got "many"'),
        ("airflow: {deadline: never}", "airflow.deadline: must be"),
        ("notify: {all: {of: nothing}}", "notify.all"),
        ("exports: [mlflow]", 'exports: must be a mapping of exporters to targets, got ["mlflow"]'),
        ("exports: {mlfow: http://x}", "exports: unknown exporter 'mlfow', did you mean 'mlflow'?"),
        ("exports: {optuna: 3}", "exports.optuna: must be a server, a folder or a file, got 3"),
        ("exports: {optuna: j}", "exports.optuna: must be an address or an absolute path, as each"),
        ("exports: {optuna: /}", "exports.optuna: must be a file, got the folder /"),
        ("exports: {mlflow: /x}", "exports.mlflow: must be a server's address, http://…, got /x"),
        ("teams: {a: {exports: {mlflow: /x}}}", "teams.a.exports.mlflow: must be a server's add"),
        ("exports: {mlflow: 'https://me:pw@x'}", "exports.mlflow: must be an address without a us"),
    ],
)
def test_the_whole_file_is_checked_before_somebody_needs_it(
    root: Path, wrong: str, said: str
) -> None:
    Environment(root).check()
    (root / "config" / "deployment.yaml").write_text(CONFIG + wrong)
    with pytest.raises(SpecError) as refused:
        Environment(root).check()
    assert str(refused.value).startswith("config/deployment.yaml: ")
    assert said in str(refused.value)


def test_what_the_example_names_is_known() -> None:
    Environment(shipped.root(Path(__file__).parent)).check()


def test_only_airflow_knows_its_connections(root: Path) -> None:
    site = Environment(root, variables={})
    pods = built("kubernetes", site)
    assert isinstance(pods, KubernetesBackend)
    with pytest.raises(SpecError, match="connection a-cluster: only Airflow knows"):
        _ = pods.client
    with pytest.raises(SpecError, match="connection aws_default: only Airflow knows"):
        site.offers["s3://bucket"]()
    with pytest.raises(SpecError, match="connection of this machine: only Airflow knows"):
        site.aws(None, None, "ecs")
    assert site.offers["file:///shared"]() == {}


def test_a_variable_then_the_root_then_airflows_home_says_what_is_set_up(tmp_path: Path) -> None:
    home, root, named = (tmp_path / name for name in ("airflow", "root", "named.yaml"))
    said = {"AIRFLOW_HOME": str(home)}
    found = Environment(root, variables=said)
    assert (found.digest, found.offers) == ("", {}), "nothing is set up yet: the defaults hold"
    assert found.experiments == home / "hpo" / "experiments"
    places = ((home / "hpo" / "deployment.yaml", said), (root / "config" / "deployment.yaml", said))
    for place, variables in (*places, (named, said | {"HPO_CONFIG": str(named)})):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"artifacts: {{file://{place}: null}}")
        assert list(Environment(root, variables=variables).offers) == [f"file://{place}"]
    (root / "config" / "experiments").mkdir()
    assert found.experiments == root / "config" / "experiments"
    said["HPO_EXPERIMENTS"] = str(tmp_path)
    assert found.experiments == tmp_path


def test_a_backend_is_set_up_by_a_section_of_its_name(root: Path) -> None:
    found = Environment(root, variables={})
    assert [name for name in BACKENDS if found.is_set_up(name)] == [
        "docker",
        "job",
        "kubernetes",
        "local",
    ]
    (root / "config" / "deployment.yaml").write_text("teams: {vision: {ecs: {}}}")
    assert [name for name in BACKENDS if found.is_set_up(name)] == ["local"]
    assert Environment(root, variables={}, team="vision").is_set_up("ecs")


def test_a_file_that_cannot_be_read_takes_no_dag_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "deployment.yaml"
    monkeypatch.setenv("HPO_CONFIG", str(config))
    assert not settings.has_backend("", "docker")
    config.write_text("docker: [")
    assert settings.has_backend("", "docker")
