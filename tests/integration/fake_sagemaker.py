"""A fake of SageMaker on moto: no model is loaded, nothing is predicted, no instance is started.

moto keeps models, endpoint configurations, endpoints and tags, and has no UpdateEndpoint. Patched
here, it has one; refuses what AWS refuses (names that exist, configurations in use, endpoints that
change); takes a few looks to create, to change and to delete; and answers an invocation from the
`sample.json` that lies beside the model's data, or with what a test says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from moto.core.responses import ActionResult
from moto.s3.models import s3_backends
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse
from moto.server import ThreadedMotoServer

Real = Callable[..., Any]
_ACCOUNT, _REGION, _LOOKS = "123456789012", "us-east-1", 2


@dataclass
class FakeSageMaker:
    """Endpoints whose configuration a test names in `broken` do not come up with it.

    Methods named as those of moto take its own one, and what that takes.
    """

    address: str = ""
    broken: set[str] = field(default_factory=set)
    #: Instead of what the model said when it was trained.
    answer: bytes | None = None
    #: Every UpdateEndpoint.
    updates: list[dict[str, Any]] = field(default_factory=list)
    #: By endpoint: how often it says that it is busy, and what is to come of it.
    coming: dict[str, tuple[int, str]] = field(default_factory=dict)

    def create_model(self, real: Real, backend: Any, **asked: Any) -> Any:
        _refuse(backend._models, asked["model_name"])
        return real(backend, **asked)

    def create_endpoint_config(self, real: Real, backend: Any, **asked: Any) -> Any:
        _refuse(backend.endpoint_configs, asked["endpoint_config_name"])
        return real(backend, **asked)

    def create_endpoint(self, real: Real, backend: Any, **asked: Any) -> Any:
        _refuse(backend.endpoints, asked["endpoint_name"])
        made = real(backend, **asked)
        made.endpoint_status = "Creating"
        self.coming[made.endpoint_name] = (_LOOKS, made.endpoint_config_name)
        return made

    def describe_endpoint(self, real: Real, backend: Any, endpoint_name: str) -> Any:
        self._look(backend, endpoint_name)
        return real(backend, endpoint_name)

    def delete_endpoint(self, real: Real, backend: Any, endpoint_name: str) -> None:
        endpoint = _idle(backend, endpoint_name)
        endpoint.endpoint_status = "Deleting"
        self.coming[endpoint_name] = (1, endpoint.endpoint_config_name)

    def delete_endpoint_config(self, real: Real, backend: Any, endpoint_config_name: str) -> None:
        for one in backend.endpoints.values():
            if one.endpoint_config_name == endpoint_config_name:
                assert one.endpoint_status == "Deleting", "its configuration is deleted"
        real(backend, endpoint_config_name)

    def update_endpoint(self, response: Any) -> Any:
        asked, backend = json.loads(response.body), response.sagemaker_backend
        backend.describe_endpoint_config(asked["EndpointConfigName"])
        endpoint = _idle(backend, asked["EndpointName"])
        self.updates.append(asked)
        endpoint.endpoint_status = "Updating"
        self.coming[endpoint.endpoint_name] = (_LOOKS, asked["EndpointConfigName"])
        return ActionResult({"EndpointArn": endpoint.arn})

    def invoke_endpoint(self, response: Any) -> Any:
        backend = sagemaker_backends[_ACCOUNT][_REGION]
        endpoint = backend.endpoints[response.path.split("/")[2]]
        assert endpoint.endpoint_status == "InService"
        config = backend.endpoint_configs[endpoint.endpoint_config_name]
        model = backend._models[config.production_variants[0]["ModelName"]]
        answer = self.answer or _predictions(model.primary_container["ModelDataUrl"])
        return 200, {"Content-Type": "application/json"}, answer.decode()

    def _look(self, backend: Any, name: str) -> None:
        """Let an endpoint come a look nearer to what it is to be."""
        left, config = self.coming.get(name, (0, ""))
        if left:
            self.coming[name] = (left - 1, config)
        elif config:
            del self.coming[name]
            self._become(backend, backend.endpoints[name], config)

    def _become(self, backend: Any, endpoint: Any, config: str) -> None:
        if endpoint.endpoint_status == "Deleting":
            del backend.endpoints[endpoint.endpoint_name]
        elif config not in self.broken:
            endpoint.endpoint_config_name = config
            endpoint.endpoint_status, endpoint.failure_reason = "InService", None
        else:
            new = endpoint.endpoint_status == "Creating"
            endpoint.endpoint_status = "Failed" if new else "InService"
            endpoint.failure_reason = "The container did not pass the ping health check."


def _refuse(there: Any, name: str) -> None:
    if name in there:
        raise ValidationError(f"Cannot create already existing thing '{name}'.")


def _idle(backend: Any, name: str) -> Any:
    """Refuse what AWS does not do to an endpoint that changes."""
    if name not in backend.endpoints:
        raise ValidationError(f"Could not find endpoint '{name}'.")
    endpoint = backend.endpoints[name]
    if endpoint.endpoint_status not in ("InService", "Failed"):
        raise ValidationError(f"Cannot update in-progress endpoint '{endpoint.arn}'.")
    return endpoint


def _predictions(data: str) -> bytes:
    """Answer as the model did when it was trained."""
    bucket, _, key = data.removeprefix("s3://").partition("/")
    place = key.removesuffix("model.tar.gz") + "sample.json"
    found = s3_backends[_ACCOUNT]["aws"].get_object(bucket, place)
    return json.dumps({"predictions": json.loads(found.value)["predictions"]}).encode()


_REPLACED = (
    "create_model",
    "create_endpoint_config",
    "create_endpoint",
    "describe_endpoint",
    "delete_endpoint",
    "delete_endpoint_config",
)


@contextmanager
def fake_sagemaker() -> Iterator[FakeSageMaker]:
    """Run the fake until the end of the block."""
    fake = FakeSageMaker()
    responses = {
        "update_endpoint": (SageMakerResponse, lambda self: fake.update_endpoint(self)),
        "invoke_endpoint": (SageMakerRuntimeResponse, lambda self: fake.invoke_endpoint(self)),
    }
    with ExitStack() as patches:
        for name in _REPLACED:
            method = _replaced(getattr(fake, name), getattr(SageMakerModelBackend, name))
            patches.enter_context(patch.object(SageMakerModelBackend, name, method))
        for name, (response, method) in responses.items():
            patches.enter_context(patch.object(response, name, method, create=True))
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        server.start()
        host, port = server.get_host_and_port()
        fake.address = f"http://{host}:{port}"
        yield fake
        server.stop()


def _replaced(method: Real, real: Real) -> Real:
    return lambda backend, *some, **asked: method(real, backend, *some, **asked)
