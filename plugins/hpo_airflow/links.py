"""Buttons of a task in Airflow's UI that lead to what belongs to it, here and in the cloud."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from hpo_lib.spec.sections import Artifacts

#: Where the plugin's REST API is mounted.
API = "/hpo/api/v1"
_ECS_TASK = re.compile(r"arn:(aws[\w-]*):ecs:([\w-]+):\d+:task/([\w-]+)/([\w-]+)")
_HOSTS = {"aws": "console.aws.amazon.com", "aws-cn": "console.amazonaws.cn"}


@attrs.define(frozen=True)
class HpoLink(BaseOperatorLink):
    """A button whose address the task itself finds out while it runs; without one it is not there.

    Airflow 3.3 asks for the address once the task has ended, in the worker, and keeps it.
    """

    name: str = ""

    @property
    def xcom_key(self) -> str:
        """The name under which Airflow keeps the address."""
        return f"hpo_link_{self.name.lower().replace(' ', '_')}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Give what the task has found out."""
        return str(getattr(operator, "hpo_links", {}).get(self.name, ""))


REPORT, LOG, RECORD = HpoLink("Report"), HpoLink("Whole log"), HpoLink("Record")
ARTIFACTS, CONSOLE = HpoLink("Artifacts"), HpoLink("Cloud console")
OF_TRIAL = (RECORD, LOG, REPORT, ARTIFACTS, CONSOLE)
OF_RUN = (REPORT, RECORD, ARTIFACTS)


def lead(task: Any, addresses: Mapping[HpoLink, str]) -> None:
    """Let the buttons of a task lead somewhere, besides where others of it do already.

    Airflow keeps the address of each button that the task has at its end, empty or not, by a call
    of its API: so it has those with an address only.
    """
    known = getattr(task, "hpo_links", {})
    task.hpo_links = {**known, **{link.name: found for link, found in addresses.items() if found}}
    task.operator_extra_links = [link for link in OF_TRIAL if link.name in task.hpo_links]


def of_run(run_id: int, artifacts: Artifacts | None) -> dict[HpoLink, str]:
    """Give what belongs to a run."""
    at = f"{_base()}{API}/runs/{run_id}"
    return {
        REPORT: f"{at}/report",
        RECORD: at,
        ARTIFACTS: bucket(artifacts.uri if artifacts else ""),
    }


def of_trial(run_id: int, number: int, artifacts: Artifacts | None) -> dict[HpoLink, str]:
    """Give what belongs to a trial."""
    at = f"{_base()}{API}/runs/{run_id}/trials/{number}"
    return {**of_run(run_id, artifacts), RECORD: at, LOG: f"{at}/log"}


def _base() -> str:
    from airflow.sdk.configuration import conf

    return str(conf.get("api", "base_url", fallback="")).rstrip("/")


def bucket(uri: str) -> str:
    """Give the page of a place in S3 or Google's storage; empty for any other."""
    scheme, _, place = uri.partition("://")
    name, _, prefix = place.partition("/")
    if scheme in ("s3", "s3a"):
        return f"https://s3.{_HOSTS['aws']}/s3/buckets/{quote(name)}?prefix={quote(prefix)}/"
    if scheme in ("gs", "gcs"):
        return f"https://console.cloud.google.com/storage/browser/{quote(name)}/{quote(prefix)}"
    return ""


def ecs_task(arn: str | None) -> str:
    """Give the page of an ECS task; empty if that is none."""
    found = _ECS_TASK.fullmatch(arn or "")
    if found is None:
        return ""
    partition, region, cluster, task = found.groups()
    host = f"{region}.{_HOSTS.get(partition, _HOSTS['aws'])}"
    return f"https://{host}/ecs/v2/clusters/{cluster}/tasks/{task}?region={region}"
