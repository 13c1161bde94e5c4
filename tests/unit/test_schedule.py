"""When a file's DAG is due: what is refused, and the times that follow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import factories
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.errors import SpecError
from hpo_lib.spec import load
from hpo_lib.spec.schedule import Schedule
from hpo_lib.spec.yaml_file import from_yaml, to_yaml
from hpo_lib.validation import parse, told

NIGHTLY = {"cron": "0 3 * * *", "timezone": "Europe/Berlin", "assets": ["s3://bucket/data.csv"]}
_FIELDS = 'must be five fields, minute, hour, day, month and weekday, such as "0 3 * * *"'


def schedule(**settings: Any) -> Schedule:
    return parse(Schedule, settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "schedule: must have cron, assets or both"),
        ({"cron": "@daily"}, f'schedule.cron: {_FIELDS}, got "@daily"'),
        # Airflow's own, and croniter's extensions: a time has to be the same at every reading.
        ({"cron": "@continuous"}, f'schedule.cron: {_FIELDS}, got "@continuous"'),
        ({"cron": "* * * * * *"}, f'schedule.cron: {_FIELDS}, got "* * * * * *"'),
        ({"cron": "R 3 * * *"}, f'schedule.cron: {_FIELDS}, got "R 3 * * *"'),
        ({"cron": "0 3 L * *"}, f'schedule.cron: {_FIELDS}, got "0 3 L * *"'),
        ({"cron": "0 25 * * *"}, 'schedule.cron: must be a cron expression, got "0 25 * * *": '
         "[0 25 * * *] is not acceptable, out of range"),
        ({"cron": "0 0 31 2 *"}, 'schedule.cron: must be a time that comes, got "0 0 31 2 *"'),
        ({"cron": "0 0 30 2 *"}, 'schedule.cron: must be a time that comes, got "0 0 30 2 *"'),
        ({"cron": 5}, "schedule.cron: must be text, got 5"),
        (
            {"cron": "0 3 * * *", "timezone": "Europe/Berln"},
            'schedule.timezone: must be a time zone such as Europe/Berlin, got "Europe/Berln", '
            "did you mean 'Europe/Berlin'?",
        ),
        ({"cron": "0 3 * * *", "timezone": "../../etc/passwd"}, "schedule.timezone: must be a"),
        (
            {"assets": ["s3://x"], "timezone": "UTC"},
            "schedule: timezone belongs to cron, which is not there, got UTC",
        ),
        (
            {"assets": ["data.csv"]},
            'schedule.assets.0.uri: must be a URI such as s3://bucket/data.csv, got "data.csv"',
        ),
        ({"assets": ["airflow://x"]}, "schedule.assets.0.uri: must be a URI such as"),
        (
            {"assets": ["postgres://me:sekrt@host/db"]},
            "schedule.assets.0.uri: must hold no password, no query and no fragment",
        ),
        (
            {"assets": ["https://host/x?token=sekrt"]},
            "schedule.assets.0.uri: must hold no password, no query and no fragment",
        ),
        ({"assets": "s3://x"}, 'schedule.assets: must be a list, got "s3://x"'),
        ({"assets": ["s3://x", "s3://x"]}, "schedule: assets must all be different"),
        (
            {"assets": ["s3://b/k", "s3://b/k/"]},
            "schedule: assets must all be different to Airflow, got s3://b/k and s3://b/k/: "
            "both have the URI s3://b/k, of which only one can be active, so the other would be "
            "lost",
        ),
        (
            {"assets": [{"uri": "s3://b/k", "name": "a"}, {"uri": "s3://b/k//", "name": "c"}]},
            "schedule: assets must all be different to Airflow, got s3://b/k (named a) and "
            "s3://b/k// (named c)",
        ),
        (
            {"assets": [{"uri": "s3://b/k", "name": "a"}, {"uri": "s3://b/j", "name": "a"}]},
            "schedule: assets must all be different to Airflow, got s3://b/k (named a) and "
            "s3://b/j (named a): both have the name a, of which only one can be active",
        ),
        ({"assets": ["s3:///key"]}, "schedule.assets.0.uri: must name a bucket, got "),
        ({"assets": [{"uri": "s3://x", "name": "self"}]}, "schedule.assets.0.name: must be the"),
        ({"cron": "0 3 * * *", "pause": True}, 'schedule: unknown key "pause", did you mean'),
    ],
)  # fmt: skip
def test_a_wrong_schedule_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        load(factories.SPEC | {"schedule": settings})
    assert str(refused.value).startswith(message)
    assert "sekrt" not in str(refused.value)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "times"),
    [
        # Europe/Berlin puts its clocks back on 25 October 2026: 3 o'clock is an hour later.
        ("0 3 * * *", "Europe/Berlin", "2026-10-24T00:00", ["24T01:00", "25T02:00", "26T02:00"]),
        # 02:30 comes twice: the second one counts.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00", ["25T01:30", "26T01:30"]),
        # Every hour means every hour.
        ("0 * * * *", "Europe/Berlin", "2026-10-25T00:30", ["25T01:00", "25T02:00"]),
        # Clocks leap from 2 to 3 on 29 March: 02:30 is an hour later.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["29T01:30", "30T00:30"]),
        ("*/20 9-10 * * mon", None, "2026-11-22T00:00", ["23T09:00", "23T09:20", "23T09:40"]),
    ],
)
def test_the_next_times_are_those_of_the_zone(
    cron: str, zone: str | None, after: str, times: list[str]
) -> None:
    begin = datetime.fromisoformat(after).replace(tzinfo=UTC)
    found = schedule(cron=cron, timezone=zone).upcoming(begin, len(times))
    assert [f"{time.astimezone(UTC):%dT%H:%M}" for time in found] == times


def test_what_is_paused_or_waits_for_assets_has_no_next_time() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert schedule(cron="0 3 * * *", paused=True).upcoming(now, 3) == []
    assert schedule(assets=["s3://bucket/x"]).upcoming(now, 3) == []


def test_a_schedule_says_when() -> None:
    said = "cron 0 3 * * * in Europe/Berlin, or updates of s3://bucket/data.csv"
    assert schedule(**NIGHTLY).words() == said
    assert schedule(assets=["s3://b/x", "s3://b/y"], paused=True).words() == (
        "updates of s3://b/x and s3://b/y (paused)"
    )


def test_a_schedule_comes_back_from_yaml_and_changes_no_digest() -> None:
    named = {"uri": "s3://bucket/other", "name": "other"}
    plain = load(factories.SPEC)
    spec = load(factories.SPEC | {"schedule": NIGHTLY | {"assets": ["s3://bucket/x", named]}})
    again = from_yaml(to_yaml(spec))
    assert again == spec
    assert spec.digest == plain.digest
    assert spec.unscheduled() == plain
    assert "schedule" not in plain.dump()


@pytest.mark.parametrize(
    ("uri", "usual"),
    [
        ("s3://bucket/data/", "s3://bucket/data"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket//data", "s3://bucket/data"),
        ("file:///data/", "file:///data"),
        ("https://Host.example/x", "https://host.example/x"),
        ("https://host:443/x", "https://host/x"),
        ("postgres://host:5432/db/public/t", "postgres://host/db/public/t"),
        ("s3://bucket/%64ata%2fx", "s3://bucket/data%2Fx"),
    ],
)
def test_an_asset_that_airflow_tells_from_what_people_call_the_same_has_a_note(
    uri: str, usual: str
) -> None:
    said = (
        f"schedule.assets.0: {uri} and {usual} are two assets to Airflow: it is updated only by "
        "what writes it as it is here"
    )
    if uri == f"{usual}/":
        said += f"; both have the URI {usual}, of which only one can be active"
    assert schedule(assets=[uri]).notes() == [said]
    assert load(factories.SPEC | {"schedule": {"assets": [uri]}}).notes() == [said]
    assert schedule(assets=[usual]).notes() == []
    # A name of its own is what Airflow goes by.
    assert schedule(assets=[{"uri": uri, "name": "data"}]).notes() == []


def test_airflow_lets_one_asset_of_a_name_or_a_uri_be_active() -> None:
    """What refusals and notes say of it is what the installed Airflow does."""
    from airflow.models.asset import AssetActive
    from airflow.sdk.definitions.asset import Asset

    one, other = Asset("s3://b/k"), Asset("s3://b/k/")
    assert one.uri == other.uri == "s3://b/k"
    assert (one.name, other.name) == ("s3://b/k", "s3://b/k/")
    unique = {
        tuple(index.columns.keys()) for index in AssetActive.__table__.indexes if index.unique
    }
    assert unique == {("name",), ("uri",)}


@pytest.mark.parametrize(
    "uri", ["s3://Bucket/Data.csv", "s3://b", "file:///a", "x-own://a/b", "gs://b/a%20b"]
)
def test_an_asset_that_is_written_as_people_write_it_has_none(uri: str) -> None:
    assert schedule(assets=[uri]).notes() == []


_URIS = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["s3", "gs", "file", "https", "x-own", "redshift-x"]),
    st.sampled_from(["b", "B", "h:80", "me@h", ""]),
    st.text("a/%2F.", max_size=6).map(lambda path: f"/{path}" if path else ""),
)


@given(_URIS, _URIS)
def test_two_assets_are_told_apart_as_airflow_tells_them_apart(one: str, other: str) -> None:
    from airflow.sdk.definitions.asset import Asset

    def key(uri: str) -> tuple[str, str]:
        try:
            return Asset(uri).name, Asset(uri).uri
        except ValueError:
            return "", ""

    refused = told(lambda: schedule(assets=[one, other]))
    if any("must be a URI" in line or "must name a bucket" in line for line in refused):
        return
    assert bool(refused) == (key(one)[1] == key(other)[1])
    assert all("assets must all be different to Airflow" in line for line in refused)
    assert ("", "") not in map(key, (one, other))
