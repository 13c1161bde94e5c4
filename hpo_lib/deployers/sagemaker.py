"""A SageMaker endpoint: what is created or changed goes through Airflow's own operators.

For each version there is a model, an endpoint configuration of the same name, and in S3
`model.tar.gz` with `sample.json` beside it. The endpoint's configuration says what serves. A
version is tried on an endpoint of its own, which is deleted afterwards: it costs its instances for
the minutes that takes, and leaves the one that serves alone.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from hpo_lib.deployers import Check, Release
from hpo_lib.deployers.sagemaker_request import (
    OWNER,
    Json,
    SageMakerOptions,
    SageMakerRules,
    config_request,
    create_request,
    model_request,
    name_of,
    pack,
    permitted,
    trial_of,
    update_request,
    version_of,
)
from hpo_lib.deployers.sample import SAMPLE, Sample, read_sample
from hpo_lib.errors import NotFound, SpecError, TransientError
from hpo_lib.files.artifacts import Offers, delete, open_folder, options_for
from hpo_lib.files.places import Place, below, opened, reaching
from hpo_lib.validation import Strict

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_DATA = "model.tar.gz"
_BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_SERVES = ("InService", "SystemUpdating")
#: Two versions may answer, so none is the one that serves.
_MIXED = ("Updating", "RollingBack", "UpdateRollbackFailed")
_KINDS = {"model": "Model", "endpoint_config": "EndpointConfig", "endpoint": "Endpoint"}
#: Errors that say that the request is wrong, or that the account may not, whatever the moment.
_REFUSALS = (
    "AccessDenied",
    "AccessDeniedException",
    "InvalidClientTokenId",
    "NoSuchBucket",
    "ResourceLimitExceeded",
    "UnrecognizedClientException",
    "ValidationError",
    "ValidationException",
)


class Operators(Protocol):
    """Runs Airflow's operators of the same names; none of them waits."""

    def model(self, config: Json) -> None:
        """Create a model."""
        ...

    def endpoint_config(self, config: Json) -> None:
        """Create an endpoint configuration."""
        ...

    def endpoint(self, config: Json, operation: str) -> None:
        """Begin to create or to update an endpoint."""
        ...


@dataclass(frozen=True)
class SageMakerDeployer:
    """`connect` gives a client of a service, `offers` lead to S3; it looks every `poll_s` seconds.

    SpecError if the installation does not allow what is asked for.
    """

    Options: ClassVar[type[Strict]] = SageMakerOptions

    experiment: str
    options: SageMakerOptions
    connect: Callable[[str], Any]
    operators: Operators
    rules: SageMakerRules
    offers: Offers = field(default_factory=dict)
    poll_s: float = 15.0

    def __post_init__(self) -> None:
        """Refuse what is not allowed."""
        _ = self.chosen

    @cached_property
    def chosen(self) -> Json:
        """Endpoint, image, role, instance type and count."""
        return permitted(self.experiment, self.options, self.rules)

    @property
    def endpoint(self) -> str:
        """Name the endpoint that users ask."""
        return str(self.chosen["endpoint"])

    @property
    def address(self) -> str:
        """The endpoint, in words."""
        return f"endpoint {self.endpoint}"

    @cached_property
    def sagemaker(self) -> Any:
        """Connect to SageMaker, once."""
        return self.connect("sagemaker")

    @cached_property
    def runtime(self) -> Any:
        """Connect to what invokes endpoints, once."""
        return self.connect("sagemaker-runtime")

    def stage(self, release: Release) -> None:
        """Upload the model's data, then create a model and an endpoint configuration."""
        name = name_of(self.endpoint, release.version)
        with _aws():
            if self._found("endpoint_config", name) is not None:
                return
            if self._found("model", name) is None:
                data = self._upload(release)
                request = model_request(self.experiment, name, data, self.chosen, self.rules)
                with _unless_there():
                    self.operators.model(request)
            with _unless_there():
                self.operators.endpoint_config(config_request(self.experiment, name, self.chosen))

    def try_out(self, release: Release) -> Check:
        """Start an endpoint with the version, let it answer the sample, and delete it."""
        name = name_of(self.endpoint, release.version)
        with _aws():
            if self._found("endpoint_config", name) is None:
                return Check(f"version {release.version} is not staged")
            try:
                return self._tried(name, read_sample(_read(below(release.files, SAMPLE))))
            except ValueError as error:
                return Check(str(error))
            finally:
                self._delete_endpoint(trial_of(name))

    def switch(self, version: int) -> None:
        """Create or update the endpoint and wait; NotFound if the version is not staged.

        If SageMaker takes its update back, the old version serves on, and `verify` says why.
        """
        name = name_of(self.endpoint, version)
        with _aws():
            if self._found("endpoint_config", name) is None:
                raise NotFound(f"version {version} of {self.endpoint} is not staged")
            found = self._settled(self.endpoint)
            if found is not None and found["EndpointStatus"] == "Failed":
                self._delete_endpoint(self.endpoint)
                found = self._settled(self.endpoint)
            if found is None:
                request = create_request(self.experiment, self.endpoint, name)
                self.operators.endpoint(request, "create")
            elif found["EndpointConfigName"] != name:
                self.operators.endpoint(update_request(self.endpoint, name, self.rules), "update")
            self._settled(self.endpoint)

    def serving(self) -> int | None:
        """Read the endpoint's configuration; TransientError while it changes to another."""
        with _aws():
            found = self._found("endpoint", self.endpoint)
        if found is None:
            return None
        status = found["EndpointStatus"]
        if status in _MIXED:
            raise TransientError(f"sagemaker: endpoint {self.endpoint} is {status}", after_s=60)
        return self._version(found) if status in _SERVES else None

    def verify(self, version: int) -> Check:
        """Ask the endpoint for its state, its version, and its answer to the version's sample."""
        name = name_of(self.endpoint, version)
        with _aws():
            found = self._settled(self.endpoint)
            if found is None:
                return Check(f"there is no endpoint {self.endpoint} to serve version {version}")
            if found["EndpointStatus"] not in _SERVES or found["EndpointConfigName"] != name:
                return _trouble(found, version)
            data = self._data(name)
            try:
                sample = read_sample(None if data is None else _read(data / SAMPLE))
            except ValueError as error:
                return Check(str(error))
            return self._answers(self.endpoint, sample)

    def drop(self, version: int) -> None:
        """Delete a version's model, its data and its configuration; SpecError if it is served."""
        name = name_of(self.endpoint, version)
        with _aws():
            found = self._settled(self.endpoint)
            if found is not None and found["EndpointConfigName"] == name:
                if found["EndpointStatus"] != "Failed":
                    raise SpecError(f"version {version} of {self.endpoint} is served")
                self._delete_endpoint(self.endpoint)
            self._delete_endpoint(trial_of(name))
            if self._found("endpoint_config", name) is not None:
                self.sagemaker.delete_endpoint_config(EndpointConfigName=name)
            if self._found("model", name) is not None:
                if (data := self._data(name)) is not None:
                    delete(data)
                self.sagemaker.delete_model(ModelName=name)

    def withdraw(self) -> None:
        """Delete the endpoint, which ends its instances; models and configurations stay."""
        with _aws():
            found = self._found("endpoint", self.endpoint)
            if found is not None and found["EndpointStatus"] != "Deleting":
                self._delete_endpoint(self.endpoint)
            self._settled(self.endpoint)

    def _upload(self, release: Release) -> str:
        """Put the model's data into S3 and give its address."""
        uri = self._folder(release)
        folder: Any = open_folder(uri, options_for(uri, self.offers))
        with tempfile.TemporaryDirectory(prefix="hpo-model-") as made, reaching(folder):
            packed = Path(made) / _DATA
            pack(release, packed)
            folder.fs.put_file(str(packed), (folder / _DATA).path)
            (folder / SAMPLE).write_bytes(_read(release.files / SAMPLE) or b"")
        return f"{uri}/{_DATA}"

    def _folder(self, release: Release) -> str:
        if self.rules.models is not None:
            return f"{self.rules.models.rstrip('/')}/{self.endpoint}/v{release.version}"
        uri = str(release.files.parent)
        if not uri.startswith("s3://"):
            raise SpecError(
                "deploy.to: sagemaker reads models from S3, where artifacts.uri has to lie, or "
                f"sagemaker.models of config/deployment.yaml; got {uri}"
            )
        return f"{uri}/sagemaker-v{release.version}"

    def _data(self, name: str) -> Place | None:
        """Open the folder with a model's data and sample."""
        found = self._found("model", name)
        if found is None:
            return None
        uri = str(found["PrimaryContainer"]["ModelDataUrl"]).removesuffix(f"/{_DATA}")
        return open_folder(uri, options_for(uri, self.offers))

    def _tried(self, name: str, sample: Sample) -> Check:
        trial = trial_of(name)
        with _aws():
            if self._settled(trial) is None:
                self.operators.endpoint(create_request(self.experiment, trial, name), "create")
            found = self._settled(trial)
            if found is None or found["EndpointStatus"] != "InService":
                return Check(f"it does not start: {_reason(found or {})}")
            return self._answers(trial, sample)

    def _answers(self, endpoint: str, sample: Sample) -> Check:
        from botocore.exceptions import ClientError

        try:
            answer = self.runtime.invoke_endpoint(
                EndpointName=endpoint, ContentType="application/json", Body=sample.request
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ModelError":
                raise
            return Check(f"it fails on its sample: {error}")
        return sample.check(answer["Body"].read())

    def _version(self, found: Mapping[str, Any]) -> int | None:
        return version_of(self.endpoint, found["EndpointConfigName"])

    def _settled(self, endpoint: str) -> Mapping[str, Any] | None:
        """Wait until an endpoint is neither made nor changed nor deleted, and read it."""
        until = time.monotonic() + self.rules.wait_s
        found = self._found("endpoint", endpoint)
        while found is not None and found["EndpointStatus"] in _BUSY:
            if time.monotonic() > until:
                status, waited = found["EndpointStatus"], f"{self.rules.wait_s:g} s"
                raise TransientError(f"sagemaker: {endpoint} is still {status} after {waited}")
            time.sleep(self.poll_s)
            found = self._described("endpoint", endpoint)
        return found

    def _delete_endpoint(self, endpoint: str) -> None:
        from botocore.exceptions import ClientError

        if self._settled(endpoint) is None:
            return
        try:
            self.sagemaker.delete_endpoint(EndpointName=endpoint)
        except ClientError as error:
            if not _is_gone(error):  # another process was quicker
                raise

    def _found(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """Read something of ours, None if it is not there; SpecError if it is somebody else's."""
        found = self._described(kind, name)
        if found is None:
            return None
        arn = found[f"{_KINDS[kind]}Arn"]
        tags = self.sagemaker.list_tags(ResourceArn=arn)["Tags"]
        if {"Key": OWNER, "Value": self.experiment} not in tags:
            raise SpecError(
                f"sagemaker: {arn} is not one of experiment {self.experiment}; give it the tag "
                f"{OWNER}={self.experiment} if it is to be, or name another deploy.options.endpoint"
            )
        return found

    def _described(self, kind: str, name: str) -> Mapping[str, Any] | None:
        from botocore.exceptions import ClientError

        describe = getattr(self.sagemaker, f"describe_{kind}")
        try:
            found: Mapping[str, Any] = describe(**{f"{_KINDS[kind]}Name": name})
        except ClientError as error:
            if not _is_gone(error):
                raise
            return None
        return found


def _is_gone(error: ClientError) -> bool:
    return "Could not find" in error.response["Error"].get("Message", "")


def _trouble(found: Mapping[str, Any], version: int) -> Check:
    is_now = f"{found['EndpointName']} is {_reason(found)} with {found['EndpointConfigName']}"
    return Check(f"endpoint {is_now}, not serving version {version}")


def _reason(found: Mapping[str, Any]) -> str:
    status = found.get("EndpointStatus", "gone")
    return f"{status} ({found['FailureReason']})" if found.get("FailureReason") else str(status)


def _read(place: Place) -> bytes | None:
    with opened(place) as file:
        return None if file is None else file.read()


@contextmanager
def _unless_there() -> Iterator[None]:
    """Pass over an error that says that another process has created the thing meanwhile."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if "already existing" not in error.response["Error"].get("Message", ""):
            raise


@contextmanager
def _aws() -> Iterator[None]:
    """Raise SpecError for what AWS refuses for good, TransientError for what it cannot do now."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        refused = error.response["Error"]["Code"] in _REFUSALS
        raise (SpecError if refused else TransientError)(f"sagemaker: {error}") from None
    except BotoCoreError as error:
        said = re.sub(r"//[^/\s]*@", "//", str(error))  # an address may hold a password
        raise TransientError(f"sagemaker: {said}") from None
