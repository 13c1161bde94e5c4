"""The server in docker/serve, with a fake model in place of TensorFlow's."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

FOLDER = Path(__file__).parents[2] / "docker" / "serve"
PATIENCE_S = 30.0
URL = "/v1/models/digits"


def imported(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"serve_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


sys.modules["open_inference"] = open_inference = imported("open_inference")
server, fetch = imported("server"), imported("fetch")


class FakeModel:
    """Gives twice what it gets, refuses text, and fails on what it is told to."""

    def describe(self) -> dict[str, Any]:
        return {
            "inputs": {"x": {"dtype": "float32", "shape": [None]}},
            "outputs": {"y": {"dtype": "float32", "shape": [None]}},
        }

    def predict(self, instances: list[Any]) -> list[Any]:
        if instances == ["nan"]:
            return [float("nan")]
        if instances == ["bug"]:
            raise RuntimeError("secret detail")
        if not all(isinstance(row, int | float) for row in instances):
            raise ValueError("instances: x must be numbers, got other values")
        return [2 * row for row in instances]


class Client:
    """Asks an app without a network."""

    def __init__(self, app: Any) -> None:
        self.transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def request(self, method: str, path: str, **what: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self.transport, base_url="http://s") as client:
                return await client.request(method, path, **what)

        return asyncio.run(ask())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **what: Any) -> httpx.Response:
        return self.request("POST", path, **what)


@pytest.fixture
def service(tmp_path: Path) -> Any:
    settings = server.Settings(folder=tmp_path, name="digits", version="7", max_bytes=1_000)
    return server.Service(settings, FakeModel())


@pytest.fixture
def client(service: Any) -> Client:
    return Client(server.app_of(service))


def test_rows_are_answered_in_their_order(client: Client) -> None:
    found = client.post(f"{URL}:predict", json={"instances": [1, 2.5, 3]})
    assert found.status_code == 200
    assert found.json() == {"predictions": [2, 5.0, 6]}
    assert found.headers["x-model-version"] == "7"


@given(st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=20))
def test_every_row_has_its_prediction(rows: list[int]) -> None:
    service = server.Service(server.Settings(name="digits"), FakeModel())
    client = Client(server.app_of(service))
    found = client.post(f"{URL}:predict", json={"instances": rows})
    assert found.json()["predictions"] == [2 * row for row in rows]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "body: must be JSON"),
        (b"", 400, "body: must be JSON"),
        (b"[" * 600, 400, "body: must be JSON"),
        (b'{"instances": [NaN]}', 400, "NaN is no JSON"),
        (b"[1]", 400, 'body: must be an object with "instances", got list'),
        (b'{"inputs": [1]}', 400, "got ['inputs']"),
        (b'{"instances": []}', 400, "instances: must be a list with rows, got []"),
        (b'{"instances": {"a": 1}}', 400, "instances: must be a list with rows, got {'a': 1}"),
        (b'{"instances": ["a"]}', 400, "instances: x must be numbers, got other values"),
        (b'{"instances": ["nan"]}', 500, "predictions: must be finite"),
        (b'{"instances": ["bug"]}', 500, "internal error, see the server's log"),
        (b" " * 1_001, 413, "body: must have at most 1000 bytes, has more"),
    ],
)
def test_a_bad_request_is_refused_with_field_rule_and_value(
    client: Client, body: bytes, status: int, words: str
) -> None:
    found = client.post(f"{URL}:predict", content=body)
    assert found.status_code == status
    assert list(found.json()) == ["error"]
    assert words in found.json()["error"]
    assert "secret detail" not in found.text
    assert found.headers["x-model-version"] == "7"


def test_a_body_without_a_length_is_bounded_too(client: Client) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b" " * 600
        yield b" " * 600

    found = client.post(f"{URL}:predict", content=body())
    assert found.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/models/other", 404),
        ("GET", "/v1/models/other/metadata", 404),
        ("POST", "/v1/models/other:predict", 404),
        ("GET", f"{URL}:predict", 404),
        ("DELETE", f"{URL}:predict", 405),
        ("POST", URL, 405),
    ],
)
def test_other_paths_names_and_methods_are_json_errors(
    client: Client, method: str, path: str, status: int
) -> None:
    found = client.request(method, path)
    assert found.status_code == status
    assert list(found.json()) == ["error"]


def test_it_says_what_is_served(client: Client, tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text('{"classes": ["a", "b"]}')
    (one,) = client.get(URL).json()["model_version_status"]
    assert (one["version"], one["state"]) == ("7", "AVAILABLE")
    found = client.get(f"{URL}/metadata").json()
    assert found["model_spec"] == {"name": "digits", "version": "7"}
    assert found["metadata"]["signature"] == FakeModel().describe()
    assert found["metadata"]["training"] == {"classes": ["a", "b"]}


def test_before_the_model_is_there_it_lives_but_is_not_ready(client: Client, service: Any) -> None:
    service.model = None
    assert client.get("/healthz").status_code == 200
    codes = [client.get(path).status_code for path in ("/readyz", URL, f"{URL}/metadata")]
    assert codes == [503, 503, 503]
    assert client.post(f"{URL}:predict", json={"instances": [1]}).status_code == 503


def test_while_draining_it_is_not_ready_but_answers(client: Client, service: Any) -> None:
    service.draining = True
    assert [client.get(path).status_code for path in ("/healthz", "/readyz", URL)] == [
        200,
        503,
        503,
    ]
    found = client.post(f"{URL}:predict", json={"instances": [1]})
    assert found.status_code == 200
    assert found.headers["connection"] == "close"


def test_what_would_wait_too_long_is_refused(client: Client, service: Any) -> None:
    service.waiting = service.settings.max_waiting
    found = client.post(f"{URL}:predict", json={"instances": [1]})
    assert (found.status_code, found.headers["retry-after"]) == (503, "1")


def test_settings_come_from_the_environment() -> None:
    env = {"MODEL_DIR": "/m", "MODEL_NAME": "a", "MODEL_VERSION": "3", "PORT": "80", "DRAIN_S": ""}
    found = server.Settings.of(env)
    assert (found.folder, found.name, found.version, found.port) == (Path("/m"), "a", "3", 80)
    assert found.drain_s == server.Settings().drain_s
    leave = [server.Settings.of({"HPO_ALLOW_PICKLE": text}).allow_pickle for text in "10"]
    assert leave == [True, False]
    with pytest.raises(ValueError, match="PORT must be a number, got 'http'"):
        server.Settings.of({"PORT": "http"})


# --------------------------------------------------------------------- KServe's inference protocol


def tensor(data: list[Any], shape: list[int] | None = None, **other: Any) -> dict[str, Any]:
    given = {"name": "x", "datatype": "FP32", "shape": shape or [len(data)], "data": data}
    return {"inputs": [given | other]}


@pytest.mark.parametrize("model", ["/v2/models/digits", "/v2/models/digits/versions/7"])
def test_tensors_are_answered_with_tensors(client: Client, model: str) -> None:
    found = client.post(f"{model}/infer", json=tensor([1, 2.5]) | {"id": "a"})
    assert (found.status_code, found.headers["x-model-version"]) == (200, "7")
    assert found.json() == {
        "model_name": "digits",
        "model_version": "7",
        "id": "a",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [2, 5.0]}],
    }
    assert client.get(f"{model}/ready").status_code == 200
    assert client.get(model).json() == {
        "name": "digits",
        "versions": ["7"],
        "platform": "hpo",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    }


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "body: must be JSON"),
        (b"[]", 400, 'body: must be an object with a list "inputs"'),
        (b'{"inputs": [1]}', 400, "inputs[0]: must be an object, got 1"),
        (tensor([1], name=1), 400, "inputs[0].name: must be text, got 1"),
        (tensor([1], name="z"), 400, "inputs: must be exactly x, got ['z']"),
        (tensor([1], datatype="FP8"), 400, "inputs[0].datatype: must be one of BOOL"),
        (tensor([1], datatype=[]), 400, "inputs[0].datatype: must be one of BOOL"),
        (tensor([1], shape=[0]), 400, "inputs[0].shape: must list 1 to 16 sizes > 0"),
        (tensor([1], shape=[True]), 400, "inputs[0].shape: must list 1 to 16 sizes > 0"),
        (tensor([1], shape=[2]), 400, "inputs[0].data: must have 2 values, got 1"),
        (tensor([1], shape=[9**9]), 400, "values, got 1"),
        (tensor([1], shape=[9**99]), 400, "inputs[0].shape: must list 1 to 16 sizes > 0"),
        (tensor([1], shape=[1] * 17), 400, "inputs[0].shape: must list 1 to 16 sizes > 0"),
        (
            {"inputs": [tensor([1])["inputs"][0] | {"data": "1"}]},
            400,
            "inputs[0].data: must be a list, got '1'",
        ),
        (tensor([1]) | {"id": 1}, 400, "id: must be text, got 1"),
        (tensor([1]) | {"outputs": [{"name": "z"}]}, 400, "outputs: must be among y, got ['z']"),
        (tensor([1]) | {"outputs": [1]}, 400, "outputs[0].name: must be text"),
        (tensor([1]) | {"outputs": 1}, 400, "outputs: must be a list, got 1"),
        (tensor(["a"]), 400, "instances: x must be numbers, got other values"),
        (tensor(["nan"]), 500, "predictions: must be finite"),
        (tensor(["bug"]), 500, "internal error, see the server's log"),
    ],
)
def test_a_bad_tensor_is_refused_with_field_rule_and_value(
    client: Client, body: Any, status: int, words: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = client.post("/v2/models/digits/infer", content=content)
    assert found.status_code == status
    assert list(found.json()) == ["error"]
    assert words in found.json()["error"]


@pytest.mark.parametrize(
    "path", ["/v2/models/other", "/v2/models/other/ready", "/v2/models/digits/versions/8/ready"]
)
def test_other_names_and_versions_are_not_there(client: Client, path: str) -> None:
    found = client.get(path)
    assert (found.status_code, list(found.json())) == (404, ["error"])


def test_it_says_its_health_in_the_words_of_both_protocols(client: Client, service: Any) -> None:
    asked = ["/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready"]
    assert [client.get(path).status_code for path in asked] == [200, 200, 200]
    service.draining = True
    assert [client.get(path).status_code for path in asked] == [200, 503, 503]
    assert client.get("/v2").json()["name"] == "hpo-serve"


SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@given(SHAPES, st.booleans())
def test_flat_and_nested_data_are_the_same_rows(shape: list[int], nested: bool) -> None:
    values = numpy.arange(numpy.prod(shape)).reshape(shape)
    data = values.tolist() if nested else values.ravel().tolist()
    signature = {"x": {"dtype": "float32", "shape": None}}
    asked = open_inference.read(tensor(data, shape), signature)
    assert asked.rows == values.tolist()
    (written,) = open_inference.write(asked, asked.rows, signature)["outputs"]
    assert (written["shape"], written["data"]) == (shape, values.ravel().tolist())


def test_several_inputs_are_rows_by_name() -> None:
    signature = {"a": {"dtype": "int64"}, "b": {"dtype": "string"}}
    one, other = tensor([1, 2], name="a")["inputs"], tensor(["x", "y"], name="b")["inputs"]
    other[0]["datatype"] = "BYTES"
    asked = open_inference.read({"inputs": one + other, "outputs": [{"name": "b"}]}, signature)
    assert asked.rows == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    (written,) = open_inference.write(asked, asked.rows, signature)["outputs"]
    assert written == {"name": "b", "datatype": "BYTES", "shape": [2], "data": ["x", "y"]}
    with pytest.raises(ValueError, match="equally many rows"):
        open_inference.read({"inputs": tensor([1], name="a")["inputs"] + other}, signature)


@pytest.mark.parametrize(
    ("rows", "datatype"), [([True], "BOOL"), ([1], "INT64"), ([1, 0.5], "FP64"), (["a"], "BYTES")]
)
def test_a_type_that_the_model_does_not_say_is_that_of_its_answers(
    rows: list[Any], datatype: str
) -> None:
    asked = open_inference.Asked(None, rows, ())
    (written,) = open_inference.write(asked, rows, {"y": {"dtype": None}})["outputs"]
    assert written["datatype"] == datatype


# ------------------------------------------------------------------------- as a process of its own

SLOW = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(FOLDER)!r})
import server

class FakeModel:
    def predict(self, instances):
        time.sleep(instances[0])
        return instances

def load(folder, version):
    if version == "0":
        raise OSError("no such model")
    return FakeModel()

settings = server.Settings(port=int(sys.argv[1]), version=sys.argv[2], drain_s=1.0)
sys.exit(server.serve(settings, load))
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def running() -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(port), "1"], env=dict(os.environ))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
        until_ready(client)
        yield process, client
    process.kill()
    process.wait()


def until_ready(client: httpx.Client) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < end, "it does not become ready"
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)


def test_on_sigterm_requests_are_ended_and_new_ones_answered_for_a_while(running: Any) -> None:
    process, client = running

    def ask(seconds: float) -> tuple[int, Any]:
        found = client.post("/v1/models/model:predict", json={"instances": [seconds]})
        return found.status_code, found.json()

    with ThreadPoolExecutor() as pool:
        slow = pool.submit(ask, 2.0)  # in flight for longer than the drain
        while not slow.running():
            pass
        assert ask(0) == (200, {"predictions": [0]})
        process.send_signal(signal.SIGTERM)
        until_not_ready(client)
        assert ask(0) == (200, {"predictions": [0]}), "nobody is turned away while draining"
        assert slow.result() == (200, {"predictions": [2.0]})
    assert process.wait(PATIENCE_S) == 0


def until_not_ready(client: httpx.Client) -> None:
    end = time.monotonic() + PATIENCE_S
    while client.get("/readyz").status_code != 503:
        assert time.monotonic() < end, "it stays ready"


def test_a_model_that_cannot_be_loaded_ends_it_with_the_reason() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SLOW, str(free_port()), "0"],
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot load the model: OSError: no such model" in done.stderr.decode()


# --------------------------------------------------------------------------------------- fetching


def test_a_model_is_fetched_into_the_layout_of_its_version(tmp_path: Path) -> None:
    source, folder = tmp_path / "model", tmp_path / "served"
    for name in ("saved_model/1/saved_model.pb", "saved_model/1/variables/a", "sample.json"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    for _ in range(2):
        assert fetch.fetch(source.as_uri(), folder, "12") == 3
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"12/saved_model.pb", "12/variables/a", "sample.json"}


@pytest.mark.parametrize("missing", ["no-such-folder", "empty"])
def test_a_model_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, missing: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("MODEL_URI", (tmp_path / missing).as_uri())
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "served"))
    monkeypatch.setenv("MODEL_VERSION", "1")
    assert fetch.main() == 1
    assert f"{missing} holds no files\n" in capsys.readouterr().err


def test_the_server_needs_what_its_pins_name() -> None:
    pins = (FOLDER.parents[1] / "requirements" / "serve.txt").read_text()
    assert {"starlette", "uvicorn"} <= {line.partition("==")[0] for line in pins.splitlines()}
