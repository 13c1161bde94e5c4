"""The DAG file of scheduled experiments as Airflow sees it, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_lib.errors import SpecError
from hpo_lib.spec import load
from hpo_lib.spec.schedule import Schedule
from hpo_lib.validation import parse

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"alembic", "boto3", "kubernetes", "numpy", "pandas", "scipy", "sklearn", "skopt"}
HEAVY |= {"optuna", "sqlalchemy"}
SPEC: dict[str, Any] = {
    "name": "run",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "limits": {"max_trials": 7, "parallel_trials": 3},
    "trial": {"command": ["sh", "-c", "echo loss=$1", "trial"], "args": ["${params.x}"]},
    "schedule": {"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
}

LOOK = """
import json, sys
from airflow.sdk import DAG
with DAG("empty"): pass
before = set(sys.modules)
sys.path.insert(0, sys.argv[1] + "/dags")
import hpo_scheduled
imported = sorted({m.split(".")[0] for m in set(sys.modules) - before})
dags = {name: dag for name, dag in vars(hpo_scheduled).items() if isinstance(dag, DAG)}

from airflow._shared.timezones.timezone import parse
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction

def look(dag):
    core = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    core.timetable.validate()
    # Where nothing was run yet.
    none = TimeRestriction(earliest=None, latest=None, catchup=False)
    first = core.timetable.next_dagrun_info(last_automated_data_interval=None, restriction=none)
    times, cron = [], getattr(core.timetable, "timetable", core.timetable)
    if hasattr(cron, "_get_next"):
        times = [parse(sys.argv[2])]
        for _ in range(6):
            times.append(cron._get_next(times[-1]))
    return {
        "tasks": sorted(dag.task_ids),
        "backends": {
            t.task_id: t.partial_kwargs["backend"] for t in dag.tasks if t.task_id.endswith("trial")
        },
        "tags": sorted(dag.tags),
        "max_active": [dag.max_active_runs, dag.max_active_tasks],
        "catchup": dag.catchup,
        "starts_paused": dag.is_paused_upon_creation,
        "description": dag.description,
        "doc": dag.doc_md,
        "timetable": type(core.timetable).__name__,
        "first": first and first.run_after.isoformat(),
        "times": [time.isoformat() for time in times[1:]],
    }

print(json.dumps({"imported": imported, "dags": {name: look(d) for name, d in dags.items()}}))
"""


def parsed(
    home: Path, *, dag_id: str = "", after: str = "2026-01-01T00:00:00+00:00", **more: str
) -> dict[str, Any]:
    """Import the DAG file with the experiments in `home/experiments` and say what came of it."""
    env = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(ROOT / "config" / "airflow.cfg"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}",
        "HPO_EXPERIMENTS": str(home / "experiments"),
        **more,
    }
    if dag_id:
        env["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = dag_id
    command = [sys.executable, "-c", LOOK, str(ROOT), after]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


def put(home: Path, name: str, text: str | None = None, **changes: Any) -> None:
    folder = home / "experiments"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(yaml.safe_dump(SPEC | changes) if text is None else text)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes of a folder with files of every kind."""
    home = tmp_path_factory.mktemp("airflow")
    put(home, "nightly.yaml", description="````\n# heading\n<script>alert(1)</script>")
    put(home, "data.yaml", schedule={"assets": ["file:///x", {"uri": "s3://b/y", "name": "y"}]})
    put(home, "slash.yaml", schedule={"assets": ["s3://b/data/"]})
    put(home, "both.yaml", schedule={"assets": ["file:///x"], "cron": "0 3 * * *"})
    put(home, "paused.yaml", schedule={"cron": "0 3 * * *", "paused": True})
    put(home, "wide.yaml", limits={"max_trials": 200, "parallel_trials": 100})
    put(home, "docker.yaml", trial={"backend": "docker", "image": "i"})
    put(home, "moved.yaml", final={"trial": {"backend": "docker", "image": "i"}})
    put(home, "none.yaml", yaml.safe_dump({k: v for k, v in SPEC.items() if k != "schedule"}))
    put(home, "broken.yaml", "`````\n<b>[")
    put(home, "bucket.yaml", schedule={"assets": ["s3://"]})
    return parsed(home, HPO_MAX_WAVES="2", HPO_MAX_PARALLEL="2")


def test_parsing_imports_nothing_heavy(tmp_path: Path) -> None:
    put(tmp_path, "nightly.yaml")
    assert HEAVY & set(parsed(tmp_path)["imported"]) == set()


def test_every_file_with_a_schedule_has_a_dag(seen: dict[str, Any]) -> None:
    names = {
        "nightly",
        "data",
        "slash",
        "both",
        "paused",
        "wide",
        "docker",
        "moved",
        "broken",
        "bucket",
    }
    assert set(seen["dags"]) == {f"hpo_scheduled_{name}" for name in names}


def test_a_task_builds_its_own_dag_only(tmp_path: Path) -> None:
    put(tmp_path, "a.yaml")
    put(tmp_path, "b.yaml")
    assert set(parsed(tmp_path, dag_id="hpo_scheduled_b")["dags"]) == {"hpo_scheduled_b"}


def test_a_dag_has_the_waves_and_the_room_that_its_file_asks_for(seen: dict[str, Any]) -> None:
    nightly, wide = (seen["dags"][f"hpo_scheduled_{name}"] for name in ("nightly", "wide"))
    waves = [f"wave_{n:02d}.{name}" for n in range(1, 4) for name in ("suggest", "trial")]
    assert nightly["tasks"] == sorted(["validate", "report", *waves])
    assert nightly["max_active"] == [1, 4]
    assert wide["max_active"] == [1, 101]
    assert "wave_02.trial" in wide["tasks"]
    assert "wave_03.trial" not in wide["tasks"]


def test_a_winner_is_trained_by_the_backend_that_final_names(seen: dict[str, Any]) -> None:
    of = {name: seen["dags"][f"hpo_scheduled_{name}"]["backends"] for name in ("docker", "moved")}
    assert set(of["docker"].values()) == {"docker"}
    assert of["moved"].pop("final.trial") == "docker"
    assert set(of["moved"].values()) == {"local"}


def test_a_dag_is_tagged_and_never_catches_up(seen: dict[str, Any]) -> None:
    dags = seen["dags"]
    assert dags["hpo_scheduled_nightly"]["tags"] == ["hpo", "local", "run"]
    assert dags["hpo_scheduled_docker"]["tags"] == ["docker", "hpo", "run"]
    assert dags["hpo_scheduled_paused"]["tags"] == ["hpo", "local", "paused", "run"]
    assert {dag["catchup"] for dag in dags.values()} == {False}
    assert {dag["starts_paused"] for dag in dags.values()} == {False}


def test_times_assets_and_both_become_timetables(seen: dict[str, Any]) -> None:
    kinds = {
        "nightly": "CronTriggerTimetable",
        "data": "AssetTriggeredTimetable",
        "both": "AssetOrTimeSchedule",
        "paused": "NullTimetable",
        "broken": "NullTimetable",
    }
    dags = seen["dags"]
    assert {name: dags[f"hpo_scheduled_{name}"]["timetable"] for name in kinds} == kinds


def test_a_dag_says_that_its_asset_is_another_one_to_airflow(seen: dict[str, Any]) -> None:
    note = "s3://b/data/ and s3://b/data are two assets to Airflow"
    assert note in seen["dags"]["hpo_scheduled_slash"]["doc"]
    assert "two assets" not in seen["dags"]["hpo_scheduled_data"]["doc"]


@pytest.mark.parametrize("back", [timedelta(minutes=3), timedelta(hours=2), timedelta(hours=12)])
def test_a_new_file_waits_for_its_next_time(tmp_path: Path, back: timedelta) -> None:
    now = datetime.now(UTC)
    slot = now - back
    put(tmp_path, "new.yaml", schedule={"cron": f"{slot.minute} {slot.hour} * * *"})
    first = datetime.fromisoformat(parsed(tmp_path)["dags"]["hpo_scheduled_new"]["first"])
    assert now < first < now + timedelta(days=1)


def test_a_broken_file_shows_its_error_and_has_tasks_that_tell_it(seen: dict[str, Any]) -> None:
    broken = seen["dags"]["hpo_scheduled_broken"]
    assert broken["tasks"] == ["report", "validate"]
    assert broken["tags"] == ["broken", "hpo"]
    assert broken["description"].startswith("broken: spec: must be YAML")
    assert "\n* `spec: must be YAML" in broken["doc"]


def test_a_file_with_several_errors_lists_them(tmp_path: Path) -> None:
    put(tmp_path, "bad.yaml", limits={"max_trails": 1, "patience": 0}, fixed=[1])
    bad = parsed(tmp_path)["dags"]["hpo_scheduled_bad"]
    listed = [line for line in bad["doc"].splitlines() if line.startswith("* `")]
    told = {line.removeprefix("* `").partition(":")[0] for line in listed}
    assert told == {"fixed", "limits", "limits.patience"}
    assert bad["description"].endswith("(and 2 further lines)")


def test_what_only_airflow_refuses_breaks_its_own_file_only(seen: dict[str, Any]) -> None:
    bucket = seen["dags"]["hpo_scheduled_bucket"]
    assert bucket["tags"] == ["broken", "hpo"]
    assert "s3://" in bucket["description"]


def test_nothing_in_a_file_gets_out_of_its_block(seen: dict[str, Any]) -> None:
    doc = seen["dags"]["hpo_scheduled_nightly"]["doc"]
    before, inside, after = re.split(r"^`````(?:yaml)?$", doc, flags=re.MULTILINE)
    assert "<script>" in inside
    assert "<script>" not in before + after
    doc = seen["dags"]["hpo_scheduled_broken"]["doc"]
    assert "<b>" not in re.sub(r"`[^`]*`", "", doc)


_MINUTES = st.sampled_from(["*", "0", "*/15", "5,35", "10-20/5", "59"])
_HOURS = st.sampled_from(["*", "3", "*/6", "1-3", "0,12", "23"])
_DAYS = st.sampled_from(["*", "1", "31", "*/10", "28-31"])
_MONTHS = st.sampled_from(["*", "2", "mar", "jan-jun/2", "10"])
_WEEKDAYS = st.sampled_from(["*", "sun", "1-5", "MON,WED", "7", "0"])
_CRONS = st.tuples(_MINUTES, _HOURS, _DAYS, _MONTHS, _WEEKDAYS).map(" ".join)
_ZONES = st.sampled_from(
    [
        None,
        "Europe/Berlin",
        "America/St_Johns",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Etc/GMT+5",
    ]
)
_ASSETS = st.lists(
    st.sampled_from(["file:///a", "s3://b/c", "x-own://é".encode("punycode").decode(), "gs://b/d"]),
    unique=True,
)
_SCHEDULES = st.fixed_dictionaries(
    {"cron": _CRONS, "timezone": _ZONES, "assets": _ASSETS, "paused": st.booleans()}
)


def _valid(schedule: dict[str, Any]) -> bool:
    try:
        parse(Schedule, schedule)
    except SpecError:
        return False
    return True


@settings(max_examples=3, suppress_health_check=list(HealthCheck))
@given(
    schedules=st.lists(_SCHEDULES.filter(_valid), min_size=25, max_size=25),
    texts=st.lists(st.text(max_size=200), min_size=25, max_size=25),
    seconds=st.integers(1_600_000_000, 2_000_000_000),
)
def test_every_valid_file_gives_a_dag_that_is_due_when_its_schedule_says(
    tmp_path_factory: pytest.TempPathFactory,
    schedules: list[dict[str, Any]],
    texts: list[str],
    seconds: int,
) -> None:
    home = tmp_path_factory.mktemp("airflow")
    for number, (schedule, text) in enumerate(zip(schedules, texts, strict=True)):
        put(home, f"f{number}.yaml", schedule=schedule, description=text)
    after = datetime.fromtimestamp(seconds, UTC)
    dags = parsed(home, after=after.isoformat())["dags"]
    for number, schedule in enumerate(schedules):
        spec = load(SPEC | {"schedule": schedule})
        dag = dags[f"hpo_scheduled_f{number}"]
        assert "broken" not in dag["tags"], dag["description"]
        times = [datetime.fromisoformat(time) for time in dag["times"]]
        assert spec.schedule is not None
        # In UTC: where clocks are put back, Python takes no time of a zone for equal to another's.
        told = [time.astimezone(UTC) for time in spec.schedule.upcoming(after, len(times))]
        assert told == times, schedule
