"""ECS tasks: what a conf may ask for, what is asked of ECS, and what a task's end means."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.backends import AttemptName, Request
from hpo_lib.backends.ecs import EcsBackend, stream_of
from hpo_lib.backends.ecs_request import EcsOptions, EcsRules, fargate_size
from hpo_lib.backends.ecs_status import exit_of, no_place, overdue, refused
from hpo_lib.core.ending import Ending
from hpo_lib.errors import SpecError
from hpo_lib.spec import load
from hpo_lib.spec.trial_section import Resources, TrialSpec
from hpo_lib.validation import parse

ROOT = Path(__file__).parents[2]
NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
ROLE, SECRET = "arn:aws:iam::1:role/trainer", "arn:aws:secretsmanager:eu-west-1:1:secret:team/key"
RULES: dict[str, Any] = {
    "region": "eu-west-1",
    "subnets": ("subnet-1", "subnet-2"),
    "images": ("team/*",),
}
GIB = 2**30


def backend(**rules: Any) -> EcsBackend:
    """A backend that never connects."""
    return EcsBackend(Path("home"), connect=lambda _: None, rules=EcsRules(**(RULES | rules)))


def trial(resources: dict[str, Any] | None = None, spot: bool = False, **options: Any) -> TrialSpec:
    """Ask for a task with these options."""
    image = None if "task_definition" in options else "team/model:3"
    return TrialSpec(
        backend="ecs",
        image=image,
        spot=spot,
        resources=Resources(**(resources or {})),
        options=options,
    )


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (trial(cluster="prod"), "options.cluster: this installation allows default, got"),
        (trial(task_role=ROLE), "options.task_role: this installation allows none, got"),
        (trial(execution_role=ROLE), "options.execution_role: this installation allows none"),
        (trial(subnets=["subnet-1", "subnet-9"]), 'allows subnet-1, subnet-2, got "subnet-9"'),
        (trial(security_groups=["sg-9"]), "options.security_groups: this installation allows none"),
        (trial(log_group="/prod"), "options.log_group: this installation allows /hpo/trials, got"),
        (trial(launch_type="EC2"), "options.launch_type: this installation allows none, got"),
        (trial(spot=True, launch_type="EC2"), "options.launch_type: this installation allows none"),
        (
            trial(capacity_provider="gpus"),
            "options.capacity_provider: this installation allows none",
        ),
        (trial(spot_capacity_provider="x"), "options.spot_capacity_provider: this installation"),
        (trial(task_definition="admin"), "options.task_definition: this installation allows none"),
        (
            trial(secrets=[{"env": "KEY", "arn": SECRET}]),
            "options.secrets: this installation allows",
        ),
        (trial(secrets=[{"env": "KEY", "arn": "key"}]), "options.secrets.0.arn"),
        (trial(assign_public_ip=True), "options.assign_public_ip: is not allowed"),
        (trial(ephemeral_storage=500), "options.ephemeral_storage"),
        (trial(privileged=True), 'trial.options: unknown key "privileged"'),
        (trial(spot=True), "trial.spot: this installation has no capacity provider for it"),
        (trial({"gpu": 1}), "trial.resources.gpu: Fargate has none, got 1"),
        (trial({"cpu": 32}), "trial.resources: Fargate has at most 16 CPUs"),
    ],
)
def test_a_conf_cannot_reach_what_the_deployment_does_not_allow(
    asked: TrialSpec, line: str
) -> None:
    with pytest.raises(SpecError) as caught:
        backend().permit(asked)
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "rules", "line"),
    [
        (trial(), {"subnets": ()}, "trial.options.subnets: Fargate needs some"),
        (trial(), {"images": ("hers/*",)}, r"trial.image: must match one of hers/*"),
        (
            trial(launch_type="EC2", capacity_provider="gpus"),
            {"on_demand": ("gpus",), "launch_types": ("EC2",)},
            "does not go with capacity_provider, got EC2 and gpus",
        ),
        (
            TrialSpec(backend="ecs", image="x/y", options={"task_definition": "train"}),
            {"task_definitions": ("train*",)},
            "trial.image: the task definition names its own, got x/y",
        ),
        (
            trial(task_definition="train", log_group="/hpo/trials"),
            {"task_definitions": ("train*",)},
            'trial.options.log_group: the task definition names its own, got "/hpo/trials"',
        ),
    ],
)
def test_what_does_not_go_together_is_refused(asked: TrialSpec, rules: dict, line: str) -> None:
    with pytest.raises(SpecError) as caught:
        backend(**rules).permit(asked)
    assert line in str(caught.value)


def ask(made: EcsBackend, wanted: TrialSpec, **changes: Any) -> Any:
    """Permit a trial, and give what ECS would be asked for it."""
    made.permit(wanted)
    handle = made.handle(AttemptName("5707e", "000012-wine", 3, 2, wanted.options))
    known: dict[str, Any] = {"command": ["python", "t.py"], "args": ["--x=1"], "env": {"A": "b"}}
    known |= {"timeout_s": 60.0, "image": wanted.image, "options": wanted.options}
    return made.wanted(handle, Request(**(known | {"labels": {"trial": "3"}} | changes)))


TAGS = [
    {"key": "hpo:trial", "value": "3"},
    {"key": "hpo:store", "value": "5707e"},
    {"key": "hpo:container", "value": "trial"},
    {"key": "hpo:timeout-s", "value": "60.0"},
    {"key": "hpo:start-timeout-s", "value": "900.0"},
]


def test_what_fargate_is_asked_for() -> None:
    rules = {"task_roles": (ROLE,), "execution_roles": ("arn:exec",), "secrets": ("arn:*",)}
    options = {"secrets": [{"env": "KEY", "arn": SECRET}], "ephemeral_storage": 50}
    definition, run = ask(backend(**rules), trial(**options), cpu=2.0, memory_bytes=5 * GIB)
    assert run == {
        "cluster": "default",
        "taskDefinition": "hpo-5707e-000012-wine-0003-2",
        "startedBy": "hpo-5707e-000012-wine-0003-2",
        "tags": TAGS,
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": ["subnet-1", "subnet-2"],
                "securityGroups": [],
                "assignPublicIp": "DISABLED",
            }
        },
        "overrides": {},
    }
    logs = {"awslogs-group": "/hpo/trials", "awslogs-region": "eu-west-1"}
    assert definition == {
        "family": "hpo-5707e-000012-wine-0003-2",
        "containerDefinitions": [
            {
                "name": "trial",
                "image": "team/model:3",
                "essential": True,
                "entryPoint": ["python", "t.py"],
                "command": ["--x=1"],
                "environment": [{"name": "A", "value": "b"}],
                "secrets": [{"name": "KEY", "valueFrom": SECRET}],
                "cpu": 2048,
                "memory": 5120,
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": logs | {"awslogs-stream-prefix": "hpo", "mode": "blocking"},
                },
                "linuxParameters": {"capabilities": {"drop": ["ALL"]}, "initProcessEnabled": True},
                "mountPoints": [{"sourceVolume": "hpo-output", "containerPath": "/hpo/output"}],
            }
        ],
        "volumes": [{"name": "hpo-output"}],
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "taskRoleArn": ROLE,
        "executionRoleArn": "arn:exec",
        "cpu": "2048",
        "memory": "5120",
        "ephemeralStorage": {"sizeInGiB": 50},
        "tags": TAGS,
    }


@pytest.mark.parametrize(
    ("rules", "options", "expected"),
    [
        ({}, {}, "DISABLED"),
        ({"assign_public_ip": True}, {}, "ENABLED"),
        ({"assign_public_ip": True}, {"assign_public_ip": False}, "DISABLED"),
        ({"assign_public_ip": True, "on_demand": ("gpus",)}, {}, "DISABLED"),
    ],
)
def test_only_fargate_gives_a_public_address(rules: dict, options: dict, expected: str) -> None:
    _, run = ask(backend(**rules), trial(**options))
    assert run["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == expected


def test_what_ec2_is_asked_for_with_gpus() -> None:
    made = backend(subnets=(), on_demand=("gpus",))
    definition, run = ask(made, trial({"gpu": 2}), gpu=2, command=())
    assert run["capacityProviderStrategy"] == [{"capacityProvider": "gpus", "weight": 1}]
    assert "networkConfiguration" not in run
    (container,) = definition["containerDefinitions"]
    assert container["resourceRequirements"] == [{"type": "GPU", "value": "2"}]
    assert container["memoryReservation"] == 128, "ECS wants one or the other"
    assert ("entryPoint" in container, container["command"]) == (False, ["--x=1"])
    assert definition["requiresCompatibilities"] == ["EC2"]
    assert definition["networkMode"] == "bridge"


def test_a_named_definition_is_overridden() -> None:
    made = backend(
        task_definitions=("train:*",),
        containers=("main",),
        task_roles=(ROLE,),
        launch_types=("FARGATE", "EC2"),
    )
    wanted = trial(task_definition="train:7", container="main", task_role=ROLE, launch_type="EC2")
    definition, run = ask(made, wanted, gpu=1, cpu=4.0, memory_bytes=16 * GIB)
    assert definition is None
    assert (run["taskDefinition"], run["launchType"]) == ("train:7", "EC2")
    assert run["overrides"] == {
        "containerOverrides": [
            {
                "name": "main",
                "command": ["python", "t.py", "--x=1"],
                "environment": [{"name": "A", "value": "b"}],
                "cpu": 4096,
                "memory": 16_384,
                "resourceRequirements": [{"type": "GPU", "value": "1"}],
            }
        ],
        "taskRoleArn": ROLE,
    }


@pytest.mark.parametrize(
    ("rules", "options", "spot", "expected"),
    [
        ({}, {}, False, {}),
        ({"spot": ("FARGATE_SPOT",)}, {}, True, "FARGATE_SPOT"),
        ({"spot": ("FARGATE_SPOT",)}, {}, False, {}),
        ({"spot": ("FARGATE_SPOT",), "on_demand": ("FARGATE",)}, {}, False, "FARGATE"),
        ({"spot": ("a", "b")}, {"spot_capacity_provider": "b"}, True, "b"),
        ({"on_demand": ("a", "b")}, {"capacity_provider": "b"}, False, "b"),
        ({"on_demand": ("a",), "launch_types": ("EC2",)}, {}, False, "a"),
        ({"launch_types": ("EC2",)}, {}, False, {}),
        (
            {"on_demand": ("a",), "launch_types": ("EC2",)},
            *({"launch_type": "EC2"}, False, {"launchType": "EC2"}),
        ),
        ({"spot": ("a",), "launch_types": ("FARGATE",)}, {"launch_type": "FARGATE"}, True, "a"),
    ],
)
def test_where_an_attempt_goes(rules: dict, options: dict, spot: bool, expected: Any) -> None:
    _, run = ask(backend(**rules), trial(spot=spot, **options), spot=spot)
    if isinstance(expected, str):
        expected = {"capacityProviderStrategy": [{"capacityProvider": expected, "weight": 1}]}
    places = ("launchType", "capacityProviderStrategy")
    assert {name: run[name] for name in places if name in run} == expected


PLACES = st.sets(st.sampled_from(["FARGATE", "EC2", "gpus", "FARGATE_SPOT"])).map(tuple)


@given(
    rules=st.fixed_dictionaries(
        {
            "spot": PLACES,
            "on_demand": PLACES,
            "launch_types": st.sets(st.sampled_from(["FARGATE", "EC2"])).map(tuple),
        }
    ),
    options=st.fixed_dictionaries(
        {},
        optional={
            "launch_type": st.sampled_from(["FARGATE", "EC2"]),
            "capacity_provider": st.sampled_from(["FARGATE", "gpus"]),
            "spot_capacity_provider": st.sampled_from(["FARGATE_SPOT", "gpus"]),
        },
    ),
    spot=st.booleans(),
    last=st.booleans(),
)
def test_whatever_a_conf_asks_an_attempt_goes_where_the_deployment_lists(
    rules: dict[str, Any], options: dict[str, Any], spot: bool, last: bool
) -> None:
    made, attempt_spot = backend(**rules), spot and not last
    try:
        _, run = ask(made, trial(spot=spot, **options), spot=attempt_spot)
    except SpecError:
        return
    if "launchType" in run:
        assert run["launchType"] in rules["launch_types"]
        assert not attempt_spot
    elif "capacityProviderStrategy" in run:
        (place,) = run["capacityProviderStrategy"]
        assert place["capacityProvider"] in rules["spot" if attempt_spot else "on_demand"]
    else:
        assert (attempt_spot, rules["on_demand"]) == (False, ())


@pytest.mark.parametrize(
    ("cpu", "memory", "size"),
    [
        (None, None, (1024, 2048)),
        (0.25, GIB // 2, (256, 512)),
        (0.5, None, (512, 2048)),
        (None, 16 * GIB, (2048, 16_384)),
        (4.0, GIB, (4096, 8192)),
        (8.0, 17 * GIB, (8192, 20_480)),
        (16.0, 120 * GIB, (16_384, 122_880)),
        (1.0, 121 * GIB, None),
        (17.0, None, None),
    ],
)
def test_sizes_are_rounded_up_to_what_fargate_has(cpu: Any, memory: Any, size: Any) -> None:
    assert fargate_size(cpu, memory) == size


def test_names_fit_and_tell_attempts_apart() -> None:
    names = {
        backend().handle(AttemptName("0123456789ab", f"000012-{'a' * 60}", 3, attempt))["task"]
        for attempt in (1, 2)
    }
    assert len(names) == 2
    assert max(map(len, names)) <= 36


def task(**changes: Any) -> dict[str, Any]:
    """A task that runs, with a sidecar."""
    sidecar = {"name": "xray", "exitCode": 0}
    known = {
        "lastStatus": "RUNNING",
        "createdAt": NOW - timedelta(seconds=100),
        "tags": TAGS,
        "containers": [sidecar, {"name": "trial"} | changes.pop("container", {})],
    }
    return known | changes


def stopped(code: str, why: str, **container: Any) -> dict[str, Any]:
    """A task that has stopped."""
    state = {"lastStatus": "STOPPED", "stopCode": code, "stoppedReason": why}
    return task(container=container, **state)


EXITED, START, USER = "EssentialContainerExited", "TaskFailedToStart", "UserInitiated"
SAID = "Essential container in task exited"
OOM = "OutOfMemoryError: Container killed due to memory usage"
HOST = "Host EC2 (instance i-0abc) terminated."


@pytest.mark.parametrize(
    ("ended", "ending", "code", "said"),
    [
        (stopped(EXITED, SAID, exitCode=0), Ending.EXITED, 0, ""),
        (stopped(EXITED, SAID, exitCode=3), Ending.EXITED, 3, ""),
        (stopped(EXITED, SAID, exitCode=137), Ending.EXITED, 137, ""),
        (stopped(EXITED, SAID, exitCode=137, reason=OOM), Ending.OUT_OF_MEMORY, 137, "memory"),
        (stopped(EXITED, OOM, exitCode=137), Ending.OUT_OF_MEMORY, 137, "memory"),
        (stopped(EXITED, SAID), Ending.LOST, None, SAID),
        (stopped("", ""), Ending.LOST, None, "no exit code"),
        (
            stopped("SpotInterruption", "Your Spot Task was interrupted."),
            Ending.PREEMPTED,
            None,
            "",
        ),
        (stopped("SpotInterruption", "x", exitCode=0), Ending.PREEMPTED, 0, "x"),
        (
            stopped("TerminationNotice", "Your Spot Task was interrupted."),
            Ending.PREEMPTED,
            None,
            "",
        ),
        (stopped("TerminationNotice", "retired"), Ending.NODE_LOST, None, "retired"),
        (stopped("", HOST), Ending.NODE_LOST, None, "i-0abc"),
        (stopped(EXITED, HOST, exitCode=137), Ending.NODE_LOST, 137, "i-0abc"),
        (stopped(START, "DockerTimeoutError: no answer"), Ending.NODE_LOST, None, "Docker"),
        (
            stopped(START, "Task failed to start", reason="CannotPullContainerError: no such tag"),
            *(Ending.IMAGE_NOT_PULLABLE, None, "no such tag"),
        ),
        (stopped(START, "CannotPullContainerError: x"), Ending.IMAGE_NOT_PULLABLE, None, "x"),
        (stopped(START, "x", reason="CannotStartContainerError: y"), Ending.UNSTARTABLE, None, "y"),
        (
            stopped(START, "ResourceInitializationError: unable to pull secrets"),
            *(Ending.UNSTARTABLE, None, "secrets"),
        ),
        (
            stopped(START, "ResourceInitializationError: dial tcp: i/o timeout"),
            *(Ending.UNSCHEDULABLE, None, "i/o timeout"),
        ),
        (stopped(START, "RESOURCE:GPU"), Ending.UNSCHEDULABLE, None, "GPU"),
        (stopped(START, "Capacity is unavailable"), Ending.UNSCHEDULABLE, None, "Capacity"),
        (stopped(USER, "Task stopped by user", exitCode=0), Ending.LOST, 0, "user"),
        (stopped(USER, "hpo: ended", exitCode=143), Ending.LOST, 143, "ended"),
        (stopped(USER, "hpo: still running after 60 s"), Ending.TIMEOUT, None, "60 s"),
        (stopped(USER, "hpo: has not begun after 9 s: PENDING"), Ending.UNSCHEDULABLE, None, "9 s"),
    ],
)
def test_how_a_task_ended(ended: dict, ending: Ending, code: int | None, said: str) -> None:
    found = exit_of(ended, NOW)
    assert found is not None
    assert (found.ending, found.code) == (ending, code)
    assert said in found.detail


@pytest.mark.parametrize("state", ["PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "STOPPING"])
def test_a_task_that_waits_or_runs_has_no_end(state: str) -> None:
    going = task(lastStatus=state, stoppingAt=NOW - timedelta(seconds=60))
    assert exit_of(going, NOW) is None


def test_a_task_that_its_host_does_not_end_is_given_up() -> None:
    found = exit_of(task(stoppingAt=NOW - timedelta(seconds=400)), NOW)
    assert found is not None
    assert found.ending is Ending.NODE_LOST


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"startedAt": NOW - timedelta(seconds=59)}, None),
        ({"startedAt": NOW - timedelta(seconds=61)}, "hpo: still running after 60 s"),
        ({"startedAt": NOW - timedelta(seconds=61), "desiredStatus": "STOPPED"}, None),
        ({"startedAt": NOW - timedelta(seconds=61), "lastStatus": "STOPPED"}, None),
        ({"lastStatus": "PENDING"}, None),
        (
            {"lastStatus": "PENDING", "createdAt": NOW - timedelta(seconds=901)},
            "hpo: has not begun after 900 s: PENDING",
        ),
    ],
)
def test_what_takes_too_long_is_stopped_with_a_reason(changes: dict, why: str | None) -> None:
    assert overdue(task(**changes), NOW) == why


@pytest.mark.parametrize(
    ("code", "message", "ending"),
    [
        ("InvalidParameterException", "No Container Instances were found.", Ending.UNSCHEDULABLE),
        ("ClientException", "You've reached the limit on tasks", Ending.UNSCHEDULABLE),
        ("ClientException", "Unable to describe task definition.", Ending.UNSTARTABLE),
        ("AccessDeniedException", "no iam:PassRole", Ending.UNSTARTABLE),
        ("ThrottlingException", "Rate exceeded", None),
        ("ServerException", "", None),
    ],
)
def test_a_task_that_is_not_even_made(code: str, message: str, ending: Ending | None) -> None:
    found = refused(code, message)
    assert (found and found.ending) == ending


def test_no_place_says_what_is_short() -> None:
    found = no_place([{"arn": "a", "reason": "RESOURCE:GPU"}, {"reason": "AGENT", "detail": "x"}])
    assert (found.ending, found.detail) == (Ending.UNSCHEDULABLE, "RESOURCE:GPU; AGENT: x")


def test_where_a_named_definitions_log_is() -> None:
    options = {"awslogs-group": "g", "awslogs-stream-prefix": "p", "awslogs-region": "r"}
    other = {"name": "xray", "logConfiguration": {"options": {"awslogs-group": "no"}}}
    main = {"name": "main", "logConfiguration": {"logDriver": "awslogs", "options": options}}
    found = {"containerDefinitions": [other, main]}
    assert stream_of(found, {"container": "main"}) == ("g", "p", "r")
    assert stream_of(found, {"container": "xray"}) is None


def test_the_region_is_the_connections_where_the_rules_name_none() -> None:
    client = SimpleNamespace(meta=SimpleNamespace(region_name="ap-south-1"))
    made = EcsBackend(Path("home"), lambda _: client, EcsRules(default="EC2", images=("*",)))
    definition, _ = ask(made, trial())
    (container,) = definition["containerDefinitions"]
    assert container["logConfiguration"]["options"]["awslogs-region"] == "ap-south-1"


def test_options_are_what_the_spec_says_of_them() -> None:
    text = ROOT.joinpath("docs", "spec.md").read_text()
    part = text.split("**ecs** takes")[1].split("\n\n")[0]
    assert [name for name in EcsOptions.model_fields if f"`{name}`" not in part] == []


def readme(language: str, word: str) -> Any:
    """Give the block of the README that has a word in it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return yaml.safe_load(found)


@pytest.mark.parametrize(
    ("changes", "providers"),
    [
        ({}, ["FARGATE_SPOT", "FARGATE"]),
        ({"spot": False}, ["FARGATE"]),
        (
            {"resources": {"gpu": 1}, "options": {"capacity_provider": "gpus"}, "spot": False},
            ["gpus"],
        ),
        (
            {
                "resources": {"gpu": 1},
                "options": {"capacity_provider": "gpus", "spot_capacity_provider": "gpus-spot"},
            },
            ["gpus-spot", "gpus"],
        ),
    ],
)
def test_the_readmes_deployment_takes_the_readmes_conf(
    changes: dict[str, Any], providers: list[str]
) -> None:
    conf = readme("json", '"ecs"')
    wanted = load(conf | {"trial": conf["trial"] | changes}).trial
    made = backend(**parse(EcsRules, readme("yaml", "ecs:")["ecs"]).model_dump() | {"region": "x"})
    found = []
    for spot in (True, False) if wanted.spot else (False,):
        _, run = ask(made, wanted, spot=spot)
        found += [one["capacityProvider"] for one in run["capacityProviderStrategy"]]
    assert found == providers


def test_what_has_come_to_cloudwatch_of_a_running_task_is_written_a_page_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = {"folder": str(tmp_path / "attempt")}
    found: list[tuple[str, str]] = []
    come: list[str] = []

    def page(_: EcsBackend, group: str, stream: str, token: str) -> dict[str, Any]:
        """Answer as CloudWatch does: what comes behind a token, and the next one."""
        assert (group, stream) == ("/hpo/trials", "trial/1")
        at = int(token or 0)
        told = [{"message": line} for line in come[at : at + 2]]
        return {"events": told, "nextForwardToken": str(at + len(told)) if told else token}

    monkeypatch.setattr(EcsBackend, "_stream", lambda *_: found[0] if found else None)
    monkeypatch.setattr(EcsBackend, "_page", page)
    made = backend()
    steps = made.copying(handle)
    next(steps)
    assert not made.log(handle).exists(), "its task has not begun"
    found.append(("/hpo/trials", "trial/1"))
    come += ["a", "b", "c"]
    next(steps)
    assert made.log(handle).read_text() == "a\nb\nc\n"
    come.append("d")
    next(steps)
    assert made.log(handle).read_text() == "a\nb\nc\nd\n"


def test_a_task_has_as_long_to_end_by_itself_as_its_trial_says() -> None:
    def asked(stop_grace_s: float | None) -> Any:
        (container,) = ask(backend(), trial(), stop_grace_s=stop_grace_s)[0]["containerDefinitions"]
        return container.get("stopTimeout")

    assert [asked(grace_s) for grace_s in (None, 12.5, 0.5)] == [None, 13, 2]
    named = trial(task_definition="train").model_copy(update={"stop_grace": "9s"})
    with pytest.raises(SpecError, match=r"trial.stop_grace: the task definition has its own, got"):
        backend(task_definitions=("train",)).permit(named)
