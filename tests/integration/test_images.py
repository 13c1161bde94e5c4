"""The images in `docker/`, built and run by a Docker engine (DOCKER_HOST).

The first time the builds take about 5 minutes, afterwards a few seconds each.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hpo_lib.collectors import Source
from hpo_lib.collectors.stdout import StdoutCollector
from hpo_lib.core.trial import Trial
from hpo_lib.spec import load
from hpo_lib.spec.command_line import invocation
from tests.command import printed

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docker" / "examples"
CONFINED = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
CONFINED += ["--network=none", "--user=12345:12345"]

pytestmark = [
    pytest.mark.needs("DOCKER_HOST"),
    pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker command"),
]


def docker(*words: str | Path, timeout_s: float = 120) -> str:
    """Run a docker command that has to succeed; gives what it printed."""
    env = {**os.environ, "DOCKER_BUILDKIT": "1"}
    return printed(["docker", *words], env, timeout_s=timeout_s)


def built(tag: str, *words: str | Path) -> str:
    docker("build", "--network=host", f"--tag={tag}", *words, timeout_s=1800)
    return tag


def run(image: str, *command: str, options: list[str] = CONFINED) -> str:
    return docker("run", "--rm", *options, image, *command, timeout_s=300)


def user(image: str) -> str:
    return docker("image", "inspect", "--format={{.Config.User}}", image).strip()


# ----------------------------------------------------------------------------- the trial's image


@pytest.fixture(scope="module")
def trial_image() -> str:
    file = ROOT / "docker" / "trial" / "Dockerfile"
    return built("hpo-trial:test", "--build-arg=TENSORFLOW=cpu", f"--file={file}", ROOT)


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """Give a folder in which also the container's user may write."""
    folder = tmp_path / "output"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture
def carried(mounted: Path) -> list[str]:
    """Give the options with which a container's HPO_OUTPUT is a URI."""
    return [*CONFINED, f"--volume={mounted}:/output", "--env=HPO_OUTPUT=file:///output/trial-1"]


UPLOAD = ("python", "-m", "hpo_lib.runtime.upload", "--")


def test_the_trial_trains_confined_and_its_model_arrives(trial_image, mounted, carried) -> None:
    flags = ["--dataset=digits", "--epochs=2", "--threads=1"]
    printed = run(trial_image, *UPLOAD, "python", "train.py", *flags, options=carried)
    steps = [line for line in printed.splitlines() if line.startswith("step=")]
    assert len(steps) == 2
    assert all(" val_accuracy=" in line for line in steps)
    output = mounted / "trial-1"
    assert (output / "model" / "model.keras").stat().st_size > 10_000
    assert json.loads((output / "model" / "metadata.json").read_text())["metrics"]["val_accuracy"]
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, None]


def test_a_trial_that_is_stopped_still_delivers(trial_image, mounted, carried) -> None:
    """As process 1, which has no signal handlers but its own."""
    script = """
trap 'echo 1 > "$HPO_OUTPUT/stopped"; exit 5' TERM
echo ready > "$HPO_OUTPUT/started"
while :; do sleep 0.1; done
"""
    upload = [*UPLOAD[:-1], "--every=0.1", "--"]
    container = docker("run", "--detach", *carried, trial_image, *upload, "sh", "-c", script)
    try:
        docker("exec", container.strip(), "sh", "-c", "until [ -e /output/*/started ]; do :; done")
        docker("stop", "--time=60", container.strip())
        code = docker("inspect", "--format={{.State.ExitCode}}", container.strip())
    finally:
        docker("rm", "--force", container.strip())
    assert code == "5\n"
    assert (mounted / "trial-1" / "stopped").exists()


def test_the_trial_is_no_root_and_its_image_holds_no_data_and_no_tools(trial_image) -> None:
    assert user(trial_image) == "1000:1000"
    assert run(trial_image, "id", "-u", options=[]) == "1000\n"
    tools = "as cc clang clang++ g++ gcc go ld make nvcc rustc tcc"
    assert run(trial_image, "sh", "-c", f"for t in {tools}; do command -v $t; done; true") == ""
    runtime = (path.name for path in (ROOT / "hpo_lib" / "runtime").glob("*.py"))
    code = {"train.py", "hpo_lib/__init__.py", "hpo_lib/py.typed"}
    found = run(trial_image, "sh", "-c", "find . -type f").splitlines()
    assert {name.removeprefix("./") for name in found} == code | {
        f"hpo_lib/runtime/{name}" for name in runtime
    }
    suffixes = " -o ".join(f"-name '*.{s}*'" for s in ("csv", "parquet", "npz", "h5", "tfrecord"))
    places = "find / -xdev -path /opt/trial/lib -prune -o -path /proc -prune -o -type f"
    search = f"{places} \\( {suffixes} \\) -print"
    assert run(trial_image, "sh", "-c", search, options=["--user=0", "--network=none"]) == ""


def test_the_trial_can_reach_an_object_store(trial_image: str) -> None:
    assert run(trial_image, "python", "-c", "import fsspec; fsspec.filesystem('s3')") == ""


# ---------------------------------------------------------------------------- the server's image


@pytest.fixture(scope="module")
def serve_image() -> str:
    return built("hpo-serve:test", f"--file={ROOT / 'docker' / 'serve' / 'Dockerfile'}", ROOT)


ASK = """
import json, sys, time, urllib.request

sample = json.load(open("/models/model/sample.json"))
url = "http://127.0.0.1:8501/v1/models/model"
for _ in range(600):
    try:
        urllib.request.urlopen("http://127.0.0.1:8501/readyz")
        break
    except OSError:
        time.sleep(0.1)
request = json.dumps({"instances": sample["instances"]}).encode()
answer = urllib.request.urlopen(f"{url}:predict", request)
found = json.load(answer)["predictions"]
pairs = zip(sum(found, []), sum(sample["predictions"], []), strict=True)
known = json.load(urllib.request.urlopen(f"{url}/metadata"))["metadata"]["training"]["classes"]
print(json.dumps([answer.headers["X-Model-Version"], max(abs(a - b) for a, b in pairs), known]))
"""


def test_the_server_serves_confined_what_the_trial_leaves(
    trial_image, serve_image, mounted, carried
) -> None:
    flags = ["--dataset=digits", "--epochs=1", "--augment=both", "--threads=1"]
    run(trial_image, *UPLOAD, "python", "train.py", *flags, options=carried)
    model = f"--volume={mounted / 'trial-1' / 'model'}:/models/model:ro"
    container = docker("run", "--detach", *CONFINED, model, serve_image).strip()
    try:
        found = json.loads(docker("exec", container, "python", "-c", ASK))
        docker("stop", "--time=60", container)
        code = docker("inspect", "--format={{.State.ExitCode}}", container)
    finally:
        docker("rm", "--force", container)
    version, difference, classes = found
    assert (version, classes) == ("1", list("0123456789"))
    assert difference < 1e-4
    assert code == "0\n", "it ends by itself when it is told to"


def test_the_server_is_no_root_and_its_image_holds_its_code_alone(serve_image) -> None:
    assert user(serve_image) == "1000:1000"
    found = run(serve_image, "sh", "-c", "find . -type f").split()
    code = {"fetch", "loader", "model", "open_inference", "server"}
    assert set(found) == {f"./{name}.py" for name in code}


# --------------------------------------------------------------------- trials in other languages


@pytest.fixture(scope="module", params=["shell", "c"])
def foreign(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Give an image that knows nothing of this project, and its program."""
    folder = EXAMPLES / request.param
    assert not [path for path in folder.iterdir() if "hpo_lib" in path.read_text()]
    program = {"shell": "trial", "c": "/trial"}[request.param]
    return built(f"hpo-trial-{request.param}:test", folder), program


SPACE = {"x": {"type": "float", "low": -6, "high": 6}, "y": {"type": "float", "low": -6, "high": 6}}


def environment(variables: Mapping[str, str]) -> Iterator[str]:
    yield from (f"--env={name}={value}" for name, value in variables.items())


@pytest.mark.parametrize("given", ["flags", "environment"])
def test_a_trial_of_another_language_works_unchanged(foreign, tmp_path: Path, given: str) -> None:
    image, program = foreign
    spec = load(
        {
            "name": "other",
            "objective": {"metric": "loss", "direction": "minimize"},
            "space": SPACE,
            "trial": {"command": [program]},
        }
    )
    trial = Trial(number=1, params={"x": 3.0, "y": 2.5})
    call = invocation(spec, trial, run=1, attempt=1, output="/tmp")
    if given == "flags":
        command, variables = call.command, {**call.env, "HPO_PARAMS": "{}"}
    else:
        command, variables = [program], dict(call.env)
    (tmp_path / "log").write_text(
        run(image, *command, options=[*CONFINED, *environment(variables)])
    )
    source = Source(log=tmp_path / "log", output=tmp_path)
    (loss,) = StdoutCollector(spec.metrics).collect(source, frozenset({"loss"}))
    assert loss.value == pytest.approx(0.5**2 + 2.25**2)


def test_a_trial_of_another_language_is_no_root(foreign: tuple[str, str]) -> None:
    assert user(foreign[0]) == "65534:65534"


# -------------------------------------------------------------------------------- Airflow's image


@pytest.fixture(scope="module")
def airflow_image() -> str:
    return built("hpo-airflow:test", f"--file={ROOT / 'docker' / 'airflow' / 'Dockerfile'}", ROOT)


IN_AIRFLOW = """
import json, os, sys
from importlib.metadata import version
from packaging.requirements import Requirement
from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag
import airflow_local_settings

lines = open("/opt/hpo/requirements.txt").read().splitlines()
pins = [Requirement(line.rstrip(" \\\\")) for line in lines if line[0] != " "]
wanted = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
bag = DagBag(conf.get("core", "dags_folder"))
facts = {
    "uid": os.getuid(),
    "errors": bag.import_errors,
    "dags": sorted(bag.dags),
    "other versions": [str(pin) for pin in wanted if version(pin.name) not in pin.specifier],
    "queued for": conf.getint("scheduler", "task_queued_timeout"),
    "host": conf.get("api", "host"),
    "local settings": airflow_local_settings.__file__,
}
print("\\n" + json.dumps(facts))
"""


def test_the_airflow_image_has_the_dags_the_settings_and_the_pins(airflow_image: str) -> None:
    options = ["--network=none", "--cap-drop=ALL"]
    printed = run(airflow_image, "python", "-c", IN_AIRFLOW, options=options)
    facts = json.loads(printed.splitlines()[-1])
    assert facts == {
        "uid": 50000,
        "errors": {},
        "dags": facts["dags"],
        "other versions": [],
        "queued for": 604800,
        "host": "0.0.0.0",
        "local settings": "/opt/airflow/config/airflow_local_settings.py",
    }
    assert "hpo_local" in facts["dags"]


def test_the_airflow_image_has_the_command(airflow_image: str) -> None:
    command = "export HPO_STORE=sqlite:////tmp/hpo.db; hpo store upgrade && hpo store check"
    assert "revision" in run(airflow_image, "bash", "-c", command, options=[])
