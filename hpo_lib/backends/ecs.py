"""Attempts as tasks of Amazon ECS: asked for as `ecs_request` says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from hpo_lib.backends import AttemptName, Found, Remote, Request, Site, unstarted
from hpo_lib.backends.beginning import Vanished, begin, prepare
from hpo_lib.backends.ecs_request import (
    CONTAINER,
    NAME,
    OUTPUT,
    OWNER,
    TAG,
    EcsOptions,
    EcsRules,
    Wanted,
    describe,
    refusals,
)
from hpo_lib.backends.ecs_status import Json, exit_of, goes, no_place, overdue, tagged
from hpo_lib.backends.images import check_image, unpinned_image
from hpo_lib.backends.server_time import server_time
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.errors import TransientError
from hpo_lib.files.artifacts import Offers, write
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import Strict, as_error, parse, told

_ENDED = "hpo: ended"
_POLL_S, _STOP_S = 2.0, 90.0
#: Seconds until AWS surely lists a new task, and for which a log that is complete stays quiet.
_UNSEEN_S, _QUIET_S = 60.0, 2.0
_LONGEST_NAME = 36
#: When ECS told of a task, beside what it told.
_TOLD_AT = "toldAt"


class Stream(NamedTuple):
    """Where awslogs writes what a container prints: a group, and a prefix of its streams."""

    group: str
    prefix: str
    region: str | None


@dataclass(frozen=True)
class EcsBackend(Remote):
    """Keeps logs below `home`; `connect` gives a client of a service, `offers` lead to artifacts.

    ECS forgets a task an hour after its end, and has no timeouts: `poll` enforces them.
    """

    Options: ClassVar[type[Strict]] = EcsOptions

    home: Path
    connect: Callable[[str], Any]
    rules: EcsRules = field(default_factory=EcsRules)
    offers: Offers = field(default_factory=dict)

    @classmethod
    def at(cls, site: Site) -> Self:
        """Build it for the account of its rules; it connects when it first has to."""
        rules = site.rules("ecs", EcsRules)
        connect = partial(site.aws, rules.connection, rules.region)
        return cls(site.home, connect, rules, site.offers)

    @classmethod
    def unpinned(cls, trial: TrialSpec) -> str | None:
        """Say which image is not named by its digest."""
        if "task_definition" in trial.options:
            return "trial.options.task_definition: its image is not known by digest"
        return unpinned_image(trial)

    def permit(self, trial: TrialSpec) -> None:
        """Refuse images, names and combinations that the installation does not allow."""
        options = parse(EcsOptions, trial.options, at="trial.options")
        lines = refusals(trial, options, self.rules)
        if options.task_definition is None:
            lines = told(check_image, trial, self.rules.images) + lines
        if lines:
            raise as_error(lines)

    def handle(self, name: AttemptName) -> dict[str, Any]:
        """Give the task's `startedBy`, its cluster, and the folder of its log."""
        asked = parse(EcsOptions, name.options)
        return {
            "task": name.text(_LONGEST_NAME),
            "cluster": asked.cluster or self.rules.clusters[0],
            "definition": asked.task_definition or "",
            "container": asked.container,
            "output": name.artifacts or OUTPUT,
            "store": name.store,
            "folder": str(name.folder(self.home)),
        }

    def wanted(self, handle: Mapping[str, Any], request: Request) -> Wanted:
        """Describe the definition, with all that the attempt needs, and the request to run it."""
        region = self.rules.region or self.ecs.meta.region_name
        return describe(handle, request, self.rules, region)

    def defined(self, wanted: Wanted) -> Json:
        """Give the definition to run: the named one, or the attempt's, registered if need be."""
        if wanted.definition is None:
            return self._definition(wanted.run["taskDefinition"])
        found = self._registered(wanted.definition["family"])
        if found is None:
            found = self.ecs.register_task_definition(**wanted.definition)["taskDefinition"]
        return found

    def submit(self, handle: Mapping[str, Any], request: Request) -> None:
        """Run the task unless it was run before."""
        prepare(handle, request)
        with service(), suppress(Vanished):
            if self.started(handle) is not None:
                return
            wanted = self.wanted(handle, request)
            arn = self.defined(wanted)["taskDefinitionArn"]
            run = partial(self._run, wanted.run | {"taskDefinition": arn})
            self.keep(handle, begin(handle, "ECS task", run, is_refusal))

    def _run(self, asked: Json) -> str:
        """Run a task and give its ARN; TransientError if there is no place for it."""
        answer = self.ecs.run_task(**asked)
        if answer["failures"]:
            raise TransientError(f"ecs: {no_place(answer['failures']).detail}")
        return str(answer["tasks"][0]["taskArn"])

    def keep(self, handle: Mapping[str, Any], arn: str) -> None:
        """Note the task that was started, which ECS may take a moment to list."""
        note = _note(handle)
        note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write(note, arn.encode())

    def follow(self, handle: Mapping[str, Any]) -> Iterator[str | Exit]:
        """Wait for the end and yield the Exit; no lines: Airflow's own operator streams them."""
        while (found := self.poll(handle)) is None:
            time.sleep(_POLL_S)
        yield found

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """Give the Exit, or None while the task waits or runs; stop it if either takes too long."""
        with service():
            task = self.task(handle)
            if task is None:
                gone = Exit(Ending.LOST, detail="ECS has no task of it, or forgot it after an hour")
                return None if _is_new(handle) else unstarted(handle) or gone
            now = task[_TOLD_AT]
            end, why = exit_of(task, now), overdue(task, now)
            if end is None and why is not None:
                self._stop(handle, why)
        return end

    def fetch(self, handle: Mapping[str, Any]) -> None:
        """Write what CloudWatch has of the container's output to the log file."""
        log = self.log(handle)
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with service():
            stream = self._stream(handle)
            if stream is None:
                return
            part = log.with_suffix(".part")
            with part.open("w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in self._printed(*stream))
        part.replace(log)

    def copying(self, handle: Mapping[str, Any]) -> Iterator[None]:
        """Write, at each step, what has come to CloudWatch of a running task to the log file."""
        log, stream, token = self.log(handle), None, ""
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            with service():
                stream = stream or self._stream(handle)
                while stream and (page := self._page(*stream, token))["nextForwardToken"] != token:
                    with log.open("a" if token else "w", encoding="utf-8") as file:
                        file.writelines(f"{event['message']}\n" for event in page["events"])
                    token = page["nextForwardToken"]
            yield

    def release(self, handle: Mapping[str, Any]) -> None:
        """Do nothing: the task goes on until its retry or its end."""

    def end(self, handle: Mapping[str, Any]) -> None:
        """Stop the task, without waiting, and take back the definition that we registered.

        A task that was marked may be killed before it comes to `discard`; ECS lets what runs of a
        definition go on when that is taken back.
        """
        with service():
            self._stop(handle, _ENDED)
            if not handle["definition"] and (found := self._registered(handle["task"])):
                self.ecs.deregister_task_definition(taskDefinition=found["taskDefinitionArn"])

    def stop(self, handle: Mapping[str, Any]) -> None:
        """Stop the task and wait until it has: SIGTERM, half a minute, SIGKILL."""
        self.end(handle)
        until = time.monotonic() + _STOP_S
        with service():
            while any(map(goes, self._tasks(handle))) and time.monotonic() < until:
                time.sleep(_POLL_S)

    def found(self, store: str) -> Iterator[Found]:
        """Give the attempts whose task runs, in any cluster that we use."""
        for cluster in self.rules.clusters:
            with service():
                tasks = [t for t in self._all(cluster) if tagged(t).get(OWNER) == store]
            for task in tasks:
                yield Found.labelled(tagged(task), TAG, _handle_of(task, cluster, store))

    def discard(self, handle: Mapping[str, Any]) -> None:
        """Stop the task, if it still runs, and take back its definition, if that is left."""
        self.end(handle)

    def task(self, handle: Mapping[str, Any]) -> Json | None:
        """Read the attempt's task, the first if there are several."""
        return min(self._tasks(handle), key=lambda task: task["createdAt"], default=None)

    def started(self, handle: Mapping[str, Any]) -> str | None:
        """Give the ARN of the attempt's task, also of one so new that ECS may not list it yet."""
        if (task := self.task(handle)) is not None:
            return str(task["taskArn"])
        return _noted(handle)[0] if _is_new(handle) else None

    @cached_property
    def ecs(self) -> Any:
        """Connect to ECS, once."""
        return self.connect("ecs")

    @cached_property
    def logs(self) -> Any:
        """Connect to CloudWatch Logs, once."""
        return self.connect("logs")

    def _tasks(self, handle: Mapping[str, Any]) -> list[Json]:
        """Read the tasks started by an attempt; TransientError if one is somebody else's."""
        cluster, by = handle["cluster"], handle["task"]
        if noted := _noted(handle):
            tasks = self._described(cluster, noted)
        else:  # startedBy must be the only filter, and finds only tasks not told to stop.
            family = (handle["definition"] or by).split("/")[-1].split(":")[0]
            listed = list(self._all(cluster, startedBy=by))
            listed += self._all(cluster, family=family, desiredStatus="STOPPED")
            tasks = [task for task in listed if task.get("startedBy") == by]
        if any(tagged(task).get(OWNER) != handle["store"] for task in tasks):
            raise TransientError(f"ECS task {by} is not of store {handle['store']}")
        return tasks

    def _all(self, cluster: str, **filters: str) -> Iterator[Json]:
        """Read the tasks of a cluster; none if there is no such cluster."""
        from botocore.exceptions import ClientError

        pages = self.ecs.get_paginator("list_tasks").paginate(cluster=cluster, **filters)
        try:
            for page in pages:
                yield from self._described(cluster, page["taskArns"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ClusterNotFoundException":
                raise

    def _described(self, cluster: str, arns: Sequence[str]) -> list[Json]:
        if not arns:
            return []
        answer = self.ecs.describe_tasks(cluster=cluster, tasks=arns, include=["TAGS"])
        told_at = server_time(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))
        return [{**task, _TOLD_AT: told_at} for task in answer["tasks"]]

    def _definition(self, name: str) -> Json:
        found: Json = self.ecs.describe_task_definition(taskDefinition=name)["taskDefinition"]
        return found

    def _registered(self, family: str) -> Json | None:
        """Give the definition that an attempt has registered, unless it was taken back."""
        from botocore.exceptions import ClientError

        try:
            found = self._definition(family)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ClientException":
                return None
            raise
        return found if found["status"] == "ACTIVE" else None

    def _stop(self, handle: Mapping[str, Any], why: str) -> None:
        for task in filter(goes, self._tasks(handle)):
            self.ecs.stop_task(cluster=handle["cluster"], task=task["taskArn"], reason=why)

    def _stream(self, handle: Mapping[str, Any]) -> tuple[str, str] | None:
        """Give group and name of the stream with an attempt's output; None if there is none."""
        task = self.task(handle)
        found = task and stream_of(self._definition(task["taskDefinitionArn"]), handle)
        if not task or not found:
            return None
        name = f"{found.prefix}/{handle['container']}/{task['taskArn'].split('/')[-1]}"
        return found.group, name

    def _printed(self, group: str, stream: str) -> Iterator[str]:
        """Give a stream's lines until nothing has come for a moment: the last ones come late."""
        token, until = "", time.monotonic() + _QUIET_S
        while True:
            page = self._page(group, stream, token)
            yield from (event["message"] for event in page["events"])
            if page["events"]:
                until = time.monotonic() + _QUIET_S
            elif page["nextForwardToken"] == token:
                if time.monotonic() > until:
                    return
                time.sleep(_QUIET_S / 4)
            token = page["nextForwardToken"]

    def _page(self, group: str, stream: str, token: str) -> Json:
        from botocore.exceptions import ClientError

        asked = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
        asked |= {"nextToken": token} if token else {}
        try:
            page: Json = self.logs.get_log_events(**asked)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return {"events": [], "nextForwardToken": token}
        return page


def stream_of(definition: Json, handle: Json) -> Stream | None:
    """Read from a definition where its container's output goes; None: not to CloudWatch."""
    for container in definition["containerDefinitions"]:
        logs = container.get("logConfiguration") or {}
        options = logs.get("options") or {}
        names = ("awslogs-group", "awslogs-stream-prefix")
        if container["name"] == handle["container"] and all(name in options for name in names):
            group, prefix = (options[name] for name in names)
            return Stream(group, prefix, options.get("awslogs-region"))
    return None


def _handle_of(task: Json, cluster: str, store: str) -> dict[str, Any]:
    """Make the handle of a task that was found: as `handle` does, but without a folder."""
    started_by, arn = task.get("startedBy", ""), task["taskDefinitionArn"]
    named = "" if f"/{started_by}:" in arn else arn
    known = {"task": started_by, "cluster": cluster, "definition": named, "output": OUTPUT}
    return known | {"container": tagged(task).get(NAME, CONTAINER), "store": store, "folder": ""}


def _note(handle: Mapping[str, Any]) -> Path:
    return Path(handle["folder"]) / "task.txt"


def _noted(handle: Mapping[str, Any]) -> list[str]:
    """Give the task if this worker has started it; other workers and housekeeping ask ECS."""
    there = bool(handle["folder"]) and _note(handle).exists()
    return [_note(handle).read_text()] if there else []


def _is_new(handle: Mapping[str, Any]) -> bool:
    """Say whether a task was started so lately that ECS may not know it yet."""
    return bool(_noted(handle)) and time.time() - _note(handle).stat().st_mtime < _UNSEEN_S


def is_refusal(error: Exception) -> bool:
    """Say whether ECS answers that it has not run a task."""
    from botocore.exceptions import ClientError

    return isinstance(error, ClientError | TransientError)


@contextmanager
def service() -> Iterator[None]:
    """Raise TransientError for trouble with AWS: it is not the trial's fault."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise TransientError(f"ecs: {error}") from error
