"""A small HTTP server for one model, with the paths of TensorFlow Serving's and KServe's APIs.

    GET  /healthz, /v2/health/live    it runs
    GET  /readyz, /v2/health/ready    its model is loaded, and it is not about to end
    GET  /v1/models/NAME              the same, with the version
    GET  /v1/models/NAME/metadata     what goes in and out, and how it was trained
    POST /v1/models/NAME:predict      {"instances": [...]} -> {"predictions": [...]}
    GET  /v2/models/NAME              what goes in and out
    GET  /v2/models/NAME/ready        as /readyz
    POST /v2/models/NAME/infer        {"inputs": [...]} -> {"outputs": [...]}: open_inference.py

After NAME, paths of /v2 may have /versions/VERSION.

Every answer has the header X-Model-Version. On SIGTERM it says that it is not ready, goes on
answering for DRAIN_S, ends the requests in flight, and exits with 0.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import open_inference
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

log = logging.getLogger("serve")

_BODY_S, _GRACE_S = 30, 20
#: Longer, in seconds, than proxies keep an idle connection, so that the proxy closes it.
_KEPT_S = 75
_SHOWN = 80


class Model(Protocol):
    """What is served."""

    def describe(self) -> Mapping[str, Any]:
        """Give what goes in and out, as JSON."""
        ...

    def predict(self, instances: list[Any]) -> list[Any]:
        """Give a prediction for every row; ValueError says what is wrong with them."""
        ...


@dataclass(frozen=True)
class Settings:
    """What the environment says; sizes in bytes, times in seconds."""

    folder: Path = Path("/models/model")
    name: str = "model"
    version: str = "1"
    port: int = 8501
    max_bytes: int = 8 << 20
    max_waiting: int = 64
    drain_s: float = 5.0
    allow_pickle: bool = False

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Settings:
        """Read MODEL_DIR, MODEL_NAME, MODEL_VERSION, PORT, MAX_REQUEST_BYTES, …; ValueError."""
        given = [(name, *known) for name, known in _VARIABLES.items() if env.get(name)]
        return cls(**{key: _read(name, kind, env[name]) for name, key, kind in given})


_VARIABLES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "MODEL_DIR": ("folder", Path),
    "MODEL_NAME": ("name", str),
    "MODEL_VERSION": ("version", str),
    "PORT": ("port", int),
    "MAX_REQUEST_BYTES": ("max_bytes", int),
    "MAX_WAITING": ("max_waiting", int),
    "DRAIN_S": ("drain_s", float),
    "HPO_ALLOW_PICKLE": ("allow_pickle", lambda text: bool(int(text))),
}


def _read(name: str, kind: Callable[[str], Any], text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {text!r}") from None


@dataclass
class Service:
    """A model from loading to draining, and the requests that wait for it."""

    settings: Settings
    model: Model | None = None
    draining: bool = False
    waiting: int = field(default=0, init=False)

    @property
    def state(self) -> str:
        """Give TensorFlow Serving's word for how the model is."""
        if self.draining:
            return "UNLOADING"
        return "START" if self.model is None else "AVAILABLE"

    def answer(self, content: Any, status: int = 200) -> Response:
        """Write an answer; while draining it asks the client to connect anew, elsewhere."""
        headers = {"X-Model-Version": self.settings.version}
        headers |= {"Connection": "close"} if self.draining else {}
        headers |= {"Retry-After": "1"} if status == 503 else {}
        text = json.dumps(content, allow_nan=False)
        return Response(text, status, headers, media_type="application/json")

    async def health(self, _request: Request) -> Response:
        """Say that the server runs."""
        return self.answer({"status": "alive"})

    async def readiness(self, _request: Request) -> Response:
        """Say whether requests should come here."""
        return self.answer({"status": self.state}, 200 if self.state == "AVAILABLE" else 503)

    async def status(self, request: Request) -> Response:
        """Say which version is in which state; 503 unless it takes requests."""
        self._named(request)
        error = {"error_code": "OK", "error_message": ""}
        one = {"version": self.settings.version, "state": self.state, "status": error}
        code = 200 if self.state == "AVAILABLE" else 503
        return self.answer({"model_version_status": [one]}, code)

    async def metadata(self, request: Request) -> Response:
        """Describe the model."""
        self._named(request)
        spec = {"name": self.settings.name, "version": self.settings.version}
        known = {"signature": self._loaded().describe(), "training": self._training()}
        return self.answer({"model_spec": spec, "metadata": known})

    async def predict(self, request: Request) -> Response:
        """Answer the rows of a request with predictions."""
        self._named(request)

        def answer(model: Model, body: bytes) -> dict[str, Any]:
            return {"predictions": model.predict(instances_of(body))}

        return await self._answered(request, answer)

    async def server(self, _request: Request) -> Response:
        """Say what serves, in the words of KServe's protocol."""
        return self.answer({"name": "hpo-serve", "version": "1", "extensions": []})

    async def model_ready(self, request: Request) -> Response:
        """Say whether this model, in this version, takes requests."""
        self._named(request)
        return await self.readiness(request)

    async def model_metadata(self, request: Request) -> Response:
        """Describe the model in the words of KServe's protocol."""
        self._named(request)
        signature = self._loaded().describe()
        sides = {side: open_inference.described(signature[side]) for side in ("inputs", "outputs")}
        versions = [self.settings.version]
        return self.answer(
            {"name": self.settings.name, "versions": versions, "platform": "hpo", **sides}
        )

    async def infer(self, request: Request) -> Response:
        """Answer the tensors of a request with tensors."""
        self._named(request)
        known = {"model_name": self.settings.name, "model_version": self.settings.version}

        def answer(model: Model, body: bytes) -> dict[str, Any]:
            signature = model.describe()
            asked = open_inference.read(json_of(body), signature["inputs"])
            predictions = model.predict(asked.rows)
            return known | open_inference.write(asked, predictions, signature["outputs"])

        return await self._answered(request, answer)

    async def _answered(
        self, request: Request, answer: Callable[[Model, bytes], dict[str, Any]]
    ) -> Response:
        """Have a thread answer a request's body, if not too many are waiting for that."""
        model = self._loaded()
        if self.waiting >= self.settings.max_waiting:
            raise HTTPException(503, f"{self.waiting} requests are waiting already")
        self.waiting += 1
        try:
            found = await run_in_threadpool(answer, model, await self._body(request))
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        finally:
            self.waiting -= 1
        try:
            return self.answer(found)
        except ValueError:
            raise HTTPException(500, "predictions: must be finite, the model gave others") from None

    async def refuse(self, _request: Request, error: Exception) -> Response:
        """Answer an error that was raised on purpose, as JSON."""
        known = isinstance(error, HTTPException)
        return self.answer(
            {"error": error.detail if known else "internal error, see the server's log"},
            error.status_code if known else 500,
        )

    def _named(self, request: Request) -> None:
        name = request.path_params["name"]
        if name != self.settings.name:
            known = self.settings.name
            raise HTTPException(404, f"model: must be {known}, got {name[:_SHOWN]!r}")
        version, known = request.path_params.get("version"), self.settings.version
        if version not in (None, known):
            raise HTTPException(404, f"version: must be {known}, got {version[:_SHOWN]!r}")

    def _loaded(self) -> Model:
        if self.model is None:
            raise HTTPException(503, "the model is being loaded")
        return self.model

    def _training(self) -> Any:
        """Give what training wrote of itself, if it did."""
        try:
            text = (self.settings.folder / "metadata.json").read_text(encoding="utf-8")
            return json.loads(text, parse_constant=lambda _: None)
        except (OSError, ValueError):
            return None

    async def _body(self, request: Request) -> bytes:
        limit, body = self.settings.max_bytes, bytearray()
        try:
            async with asyncio.timeout(_BODY_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise HTTPException(413, f"body: must have at most {limit} bytes, has more")
        except TimeoutError:
            raise HTTPException(408, f"body: must be here within {_BODY_S} seconds") from None
        return bytes(body)


def instances_of(body: bytes) -> list[Any]:
    """Read the rows of a request; ValueError names field, rule and value."""
    content = json_of(body)
    if not isinstance(content, dict) or "instances" not in content:
        got = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f'body: must be an object with "instances", got {str(got)[:_SHOWN]}')
    instances = content["instances"]
    if not isinstance(instances, list) or not instances:
        raise ValueError(f"instances: must be a list with rows, got {str(instances)[:_SHOWN]}")
    return instances


def json_of(body: bytes) -> Any:
    """Read JSON; ValueError also for numbers that it has not."""
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"body: must be JSON: {error}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def app_of(service: Service) -> Starlette:
    """Give the service its paths."""
    handlers: Any = {HTTPException: service.refuse, Exception: service.refuse}
    known: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("GET", "/healthz", service.health),
        ("GET", "/readyz", service.readiness),
        ("POST", "/v1/models/{name}:predict", service.predict),
        ("GET", "/v1/models/{name}/metadata", service.metadata),
        ("GET", "/v1/models/{name}", service.status),
        ("GET", "/v2", service.server),
        ("GET", "/v2/health/live", service.health),
        ("GET", "/v2/health/ready", service.readiness),
    ]
    for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        known += [
            ("GET", model, service.model_metadata),
            ("GET", f"{model}/ready", service.model_ready),
            ("POST", f"{model}/infer", service.infer),
        ]
    routes = [Route(path, endpoint, methods=[method]) for method, path, endpoint in known]
    return Starlette(routes=routes, exception_handlers=handlers)


class Server(uvicorn.Server):
    """Ends on SIGTERM only after clients have had time to turn elsewhere."""

    def __init__(self, service: Service) -> None:
        """Serve on every address, as a container has to."""
        config = uvicorn.Config(
            app_of(service),
            host="0.0.0.0",  # noqa: S104
            port=service.settings.port,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=_KEPT_S,
            timeout_graceful_shutdown=_GRACE_S,
        )
        super().__init__(config)
        self.service = service
        self.failed = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first SIGTERM; end at once on any other signal."""
        if sig != signal.SIGTERM or self.service.draining:
            super().handle_exit(sig, frame)
            return
        self.service.draining = True
        timer = threading.Timer(self.service.settings.drain_s, self._leave)
        timer.daemon = True
        timer.start()

    def load(self, loader: Callable[[Path, str], Model]) -> None:
        """Load the model, which answers from then on; if that fails, say why and end."""
        settings = self.service.settings
        try:
            self.service.model = loader(settings.folder, settings.version)
            log.info("serving %s, version %s", settings.name, settings.version)
        except Exception as error:
            log.error("cannot load the model: %s: %s", type(error).__name__, error)
            self.failed = True
            self._leave()

    def _leave(self) -> None:
        self.should_exit = True


def serve(settings: Settings, loader: Callable[[Path, str], Model]) -> int:
    """Serve until told to end; gives the exit code."""
    server = Server(Service(settings))
    threading.Thread(target=server.load, args=(loader,), daemon=True).start()
    asyncio.run(server.serve())
    return 1 if server.failed else 0


def main() -> int:
    """Serve what the environment names."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        settings = Settings.of(os.environ)
    except ValueError as error:
        log.error("%s", error)
        return 2

    def loader(folder: Path, version: str) -> Model:
        import model

        return model.load(folder, version, allow_pickle=settings.allow_pickle)

    return serve(settings, loader)


if __name__ == "__main__":
    sys.exit(main())
