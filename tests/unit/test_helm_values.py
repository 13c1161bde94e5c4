"""The values for Airflow's official chart. The chart itself is not here to be rendered."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
#: What the chart decides, or what depends on the size of the deployment.
ELSEWHERE = {
    ("core", "executor"),
    ("core", "load_examples"),
    ("core", "parallelism"),
    ("core", "simple_auth_manager_users"),
    ("api", "host"),
    ("api", "workers"),
    ("api", "expose_config"),
}


@pytest.fixture
def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "config" / "helm" / "values.yaml").read_text())
    return found


def test_they_say_what_airflow_cfg_says(values: dict[str, Any]) -> None:
    ours = configparser.ConfigParser(interpolation=None)
    ours.read(ROOT / "config" / "airflow.cfg")
    for section in ours.sections():
        for name, value in ours.items(section):
            if (section, name) not in ELSEWHERE:
                assert str(values["config"][section][name]) == value, f"[{section}] {name}"


def test_the_version_is_the_images(values: dict[str, Any]) -> None:
    base = re.search(r"apache/airflow:(\S+)", (ROOT / "docker/airflow/Dockerfile").read_text())
    assert base
    assert values["airflowVersion"] == base[1]


def test_they_hold_no_secret_and_the_page_makes_those_that_they_name(values) -> None:
    named = {one["secretName"] for one in values["secret"]}
    named |= {value for name, value in values.items() if name.endswith("SecretName")}
    named.add(values["data"]["metadataSecretName"])
    page = (ROOT / "docs" / "helm.md").read_text()
    assert set(re.findall(r"^make-secret (\S+)", page, re.MULTILINE)) == named
    assert set(values["data"]) == {"metadataSecretName"}
    assert not [name for name in values if name in ("fernetKey", "apiSecretKey", "jwtSecret")]
