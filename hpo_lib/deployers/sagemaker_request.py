"""What may be asked of SageMaker, and what is asked for a version: pure, plain JSON."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from hpo_lib.deployers import Release
from hpo_lib.files.places import Place, opened, whole
from hpo_lib.validation import Strict, as_error, rule, shown

#: Says which experiment made a model, an endpoint configuration or an endpoint.
OWNER = "hpo:experiment"
_LONGEST, _TRIAL = 63, "-try"
#: What SageMaker takes, by option, and the same in words.
_FORMS = {
    "endpoint": (
        rf"(?=.{{1,{_LONGEST}}}\Z)[A-Za-z0-9](-*[A-Za-z0-9])*",
        f"letters, digits and -, at most {_LONGEST}, not beginning or ending with -",
    ),
    "image": (
        r"[!-~]{1,255}",
        "an image such as 123456789012.dkr.ecr.eu-west-1.amazonaws.com/name:tag",
    ),
    "role": (
        r"arn:aws[a-z-]*:iam::\d+:role/[\w+=,.@/-]{1,1000}",
        "the ARN of a role such as arn:aws:iam::123456789012:role/name",
    ),
    "instance_type": (r"ml\.[a-z0-9.-]{1,60}", "a type of instances such as ml.m5.large"),
}
_SAVED = re.compile(r"saved_model/(\d+/)?(?P<rest>.+)")

Json = dict[str, Any]


class SageMakerOptions(Strict):
    """What is left out is the first that is allowed; for `endpoint`, the experiment's name."""

    endpoint: str | None = None
    image: str | None = None
    role: str | None = None
    instance_type: str | None = None
    instances: int = Field(default=1, ge=1)

    @field_validator(*_FORMS)
    @classmethod
    def _check_form(cls, text: str | None, info: ValidationInfo) -> str | None:
        form, words = _FORMS[str(info.field_name)]
        if text is not None and not re.fullmatch(form, text, re.ASCII):
            raise rule(f"must be {words}, got {shown(text)}")
        return text


class SageMakerRules(Strict):
    """What `config/deployment.yaml` lets a conf ask of SageMaker; the default is a list's first.

    `models` is the s3:// folder for model data; without one, it lies beside the model's own files.
    With `alarms`, names of CloudWatch, SageMaker takes an update back when one of them goes off.
    """

    connection: str | None = "aws_default"
    region: str | None = None
    endpoints: tuple[str, ...] = Field(default=("*",), strict=False)
    images: tuple[str, ...] = Field(default=(), strict=False)
    roles: tuple[str, ...] = Field(default=(), strict=False)
    instance_types: tuple[str, ...] = Field(default=("ml.m5.large",), strict=False)
    max_instances: int = Field(default=1, ge=1)
    models: str | None = Field(default=None, pattern=r"^s3://")
    subnets: tuple[str, ...] = Field(default=(), strict=False)
    security_groups: tuple[str, ...] = Field(default=(), strict=False)
    network_isolation: bool = True
    alarms: tuple[str, ...] = Field(default=(), strict=False)
    wait_s: float = Field(default=3_600.0, gt=0)


def permitted(experiment: str, options: SageMakerOptions, rules: SageMakerRules) -> Json:
    """Give the endpoint, image, role and so on to use; SpecError if they are not allowed."""
    endpoint = options.endpoint or _endpoint(experiment)
    lines = []
    if not any(fnmatchcase(endpoint, one) for one in rules.endpoints):
        lines.append(_refusal("endpoint", rules.endpoints, endpoint))
    if options.instances > rules.max_instances:
        most = f"at most {rules.max_instances}"
        lines.append(_refusal("instances", [most], options.instances))
    chosen: Json = {"endpoint": endpoint, "instances": options.instances}
    for option, listed in _LISTED.items():
        asked, allowed = getattr(options, option), getattr(rules, listed)
        chosen[option] = asked or next(iter(allowed), None)
        if chosen[option] not in allowed:
            lines.append(_refusal(option, allowed, chosen[option]))
    if lines:
        raise as_error(lines)
    return chosen


_LISTED = {"image": "images", "role": "roles", "instance_type": "instance_types"}


def _refusal(option: str, allowed: Sequence[str], got: Any) -> str:
    known = ", ".join(allowed) or "none (sagemaker in config/deployment.yaml)"
    return f"deploy.options.{option}: this installation allows {known}, got {shown(got)}"


def name_of(endpoint: str, version: int) -> str:
    """Name a version's model and endpoint configuration, always the same."""
    tail = f"-v{version}"
    room = _LONGEST - len(tail) - len(_TRIAL)
    return f"{_shortened(endpoint, room)}{tail}"


def version_of(endpoint: str, name: str) -> int | None:
    """Read the version from the name of an endpoint configuration; None if it is not ours."""
    digits = name.rpartition("-v")[2]
    if not digits.isdecimal() or name_of(endpoint, int(digits)) != name:
        return None
    return int(digits)


def trial_of(name: str) -> str:
    """Name the endpoint on which a version is tried out."""
    return f"{name}{_TRIAL}"


def _shortened(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: room - 9].rstrip('-')}-{digest}"


def _endpoint(experiment: str) -> str:
    """Name the endpoint of an experiment; a team's has signs in its name that SageMaker refuses."""
    plain = re.sub("[^A-Za-z0-9-]", "-", experiment)
    if plain == experiment:
        return experiment
    digest = hashlib.sha256(experiment.encode()).hexdigest()[:8]
    return f"{plain[: _LONGEST - 9].rstrip('-')}-{digest}"


def tags_of(experiment: str) -> list[Json]:
    """Give the tags of everything that is made for an experiment."""
    return [{"Key": OWNER, "Value": experiment}]


def model_request(
    experiment: str, name: str, data: str, chosen: Json, rules: SageMakerRules
) -> Json:
    """Ask for a model whose data lies at an s3:// address."""
    request = {
        "ModelName": name,
        "PrimaryContainer": {"Image": chosen["image"], "ModelDataUrl": data},
        "ExecutionRoleArn": chosen["role"],
        "EnableNetworkIsolation": rules.network_isolation,
        "Tags": tags_of(experiment),
    }
    if rules.subnets:
        within = {"Subnets": [*rules.subnets], "SecurityGroupIds": [*rules.security_groups]}
        request["VpcConfig"] = within
    return request


def config_request(experiment: str, name: str, chosen: Json) -> Json:
    """Ask for an endpoint configuration with that model alone."""
    variant = {
        "VariantName": "model",
        "ModelName": name,
        "InstanceType": chosen["instance_type"],
        "InitialInstanceCount": chosen["instances"],
        "InitialVariantWeight": 1.0,
    }
    tags = tags_of(experiment)
    return {"EndpointConfigName": name, "ProductionVariants": [variant], "Tags": tags}


def create_request(experiment: str, endpoint: str, name: str) -> Json:
    """Ask for a new endpoint."""
    tags = tags_of(experiment)
    return {"EndpointName": endpoint, "EndpointConfigName": name, "Tags": tags}


def update_request(endpoint: str, name: str, rules: SageMakerRules) -> Json:
    """Ask an endpoint to change: SageMaker starts new instances, then moves all traffic at once."""
    request: Json = {"EndpointName": endpoint, "EndpointConfigName": name}
    if rules.alarms:
        routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 60}
        request["DeploymentConfig"] = {
            "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing},
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": one} for one in rules.alarms]},
        }
    return request


def pack(release: Release, target: Path) -> None:
    """Write a release as `model.tar.gz`, the same bytes for the same files.

    A SavedModel lies at `<version>/saved_model.pb`, as TensorFlow Serving reads it, with `code/`
    beside it if there is one; a model of another kind is packed as it is.
    """
    with (
        target.open("wb") as plain,
        gzip.GzipFile("", "wb", fileobj=plain, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, place in _members(release):
            with opened(place) as file:
                if file is None:
                    continue
                member = tarfile.TarInfo(name)
                member.size, member.mode = file.seek(0, os.SEEK_END), 0o644
                file.seek(0)
                archive.addfile(member, file)


def _members(release: Release) -> Iterator[tuple[str, Place]]:
    names = {str(place).removeprefix(f"{release.files}/"): place for place in whole(release.files)}
    if not any(_SAVED.fullmatch(name) for name in names):
        yield from names.items()
        return
    for name, place in names.items():
        if match := _SAVED.fullmatch(name):
            yield f"{release.version}/{match['rest']}", place
        elif name.startswith("code/"):
            yield name, place
