"""When a file in config/experiments is run by itself: at cron's times, on assets, or both."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import combinations
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator

from hpo_lib.errors import nearest
from hpo_lib.validation import Strict, at_most, rule, shown

_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DAYS = "sun|mon|tue|wed|thu|fri|sat"
#: What a value may be in each of the five fields; ranges and steps are cron's own to check.
_VALUES = (r"\d\d?", r"\d\d?", r"\d\d?", rf"\d\d?|{_MONTHS}", rf"\d|{_DAYS}")
_FIELDS = [re.compile(rf"(\*|({v})(-({v}))?)(/[1-9]\d?)?", re.I | re.ASCII) for v in _VALUES]
_URI = re.compile(r"([a-z][a-z0-9+.-]*)://([\x21-\x7e]+)")
#: Schemes whose hosts are names of the network, with their own ports.
_PORTS = {"http": 80, "https": 443, "ftp": 21, "sftp": 22, "postgresql": 5432, "postgres": 5432}
_PORTS |= {"mysql": 3306, "redis": 6379}
_ESCAPED, _NEEDS_NO_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})"), re.compile(r"[A-Za-z0-9._~-]")
_NAME = re.compile(r"[\x20-\x7e]+")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_MAX_ASSETS = 20
#: Four years from here hold every day of the calendar.
_ANY_TIME = datetime(2024, 1, 1)  # noqa: DTZ001 - local time of any zone


class AssetSpec(Strict):
    """An Airflow asset; without a `name` it is named by its URI, as in Airflow."""

    uri: str = Field(max_length=500)
    name: str | None = Field(default=None, max_length=500)

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, text: str) -> str:
        match = _URI.fullmatch(text)
        if match and (set("?#") & set(match[2]) or ":" in match[2].rpartition("@")[0]):
            # The value is not shown: it may hold a secret.
            raise rule("must hold no password, no query and no fragment")
        if not match or match[1] == "airflow":
            raise rule(f"must be a URI such as s3://bucket/data.csv, got {shown(text)}")
        if match[1] == "s3" and match[2].startswith("/"):
            raise rule(f"must name a bucket, got {shown(text)}")
        return text

    @field_validator("name")
    @classmethod
    def _check_name(cls, text: str | None) -> str | None:
        if text is not None and (
            not _NAME.fullmatch(text) or text.strip() != text or text in ("self", "context")
        ):
            raise rule(f"must be the name of an asset, in ASCII, got {shown(text)}")
        return text

    @property
    def known_as(self) -> str:
        """The name by which a producer has to call it."""
        return self.name or self.uri

    @property
    def uri_in_airflow(self) -> str:
        """The URI as Airflow keeps it: without slashes at its end, but for schemes in x-."""
        scheme, _, rest = self.uri.partition("://")
        host, _, path = rest.partition("/")
        return self.uri if scheme.startswith("x-") else f"{scheme}://{host}/{path}".rstrip("/")

    def same_to_airflow(self, other: AssetSpec) -> str:
        """Give the URI or name that both have; nothing if Airflow can use both of them."""
        if self.uri_in_airflow == other.uri_in_airflow:
            return f"URI {self.uri_in_airflow}"
        return f"name {self.known_as}" if self.known_as == other.known_as else ""

    def __str__(self) -> str:
        """Give the URI, and the name if it has one."""
        return f"{self.uri} (named {self.name})" if self.name else self.uri

    def note(self) -> str | None:
        """Say that Airflow takes it for another asset than one that people take for the same."""
        usual = _usual(self.uri)
        if self.name is not None or usual == self.uri:
            return None
        same = self.same_to_airflow(AssetSpec(uri=usual))
        lost = f"; both have the {same}, of which only one can be active" if same else ""
        return (
            f"{self.uri} and {usual} are two assets to Airflow: it is updated only by what writes "
            f"it as it is here{lost}"
        )


class Schedule(Strict):
    """Times of cron in a zone, assets that must all be updated, or both.

    `paused` takes both away, and leaves the rest of the DAG as it is.
    """

    cron: str | None = Field(default=None, max_length=200)
    timezone: str | None = None
    assets: Annotated[tuple[AssetSpec, ...], at_most(_MAX_ASSETS)] = Field(default=(), strict=False)
    paused: bool = False

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, text: str | None) -> str | None:
        if text is None:
            return None
        fields = text.split()
        if len(fields) != len(_FIELDS) or not all(map(_is_field, _FIELDS, fields)):
            raise rule(
                'must be five fields, minute, hour, day, month and weekday, such as "0 3 * * *", '
                f"got {shown(text)}"
            )
        _check_times(" ".join(fields))
        return " ".join(fields)

    @field_validator("timezone")
    @classmethod
    def _check_zone(cls, text: str | None) -> str | None:
        if text is None or (_ZONE.fullmatch(text) and text in _zones()):
            return text
        hint = nearest(text, _zones())
        raise rule(f"must be a time zone such as Europe/Berlin, got {shown(text)}{hint}")

    @field_validator("assets", mode="before")
    @classmethod
    def _take_text_as_uri(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [{"uri": one} if isinstance(one, str) else one for one in value]

    def problems(self, broken: Collection[str]) -> Iterator[str]:
        """Yield that there is neither cron nor asset, a zone without cron, and repeated assets."""
        if self.cron is None and not self.assets and not {"cron", "assets"} & set(broken):
            yield "must have cron, assets or both"
        if self.timezone is not None and self.cron is None and "cron" not in broken:
            yield f"timezone belongs to cron, which is not there, got {self.timezone}"
        for first, second in combinations(self.assets, 2):
            if same := first.same_to_airflow(second):
                yield (
                    f"assets must all be different to Airflow, got {first} and {second}: both have "
                    f"the {same}, of which only one can be active, so the other would be lost"
                )

    @property
    def zone(self) -> str:
        """The time zone of the cron expression."""
        return self.timezone or "UTC"

    def notes(self) -> list[str]:
        """Say, a line each, what is allowed and yet may not be what was meant."""
        told = ((index, one.note()) for index, one in enumerate(self.assets))
        return [f"schedule.assets.{index}: {note}" for index, note in told if note]

    def words(self) -> str:
        """Say when, in one line."""
        ways = [f"cron {self.cron} in {self.zone}"] if self.cron else []
        if self.assets:
            ways.append(f"updates of {' and '.join(asset.uri for asset in self.assets)}")
        return ", or ".join(ways) + (" (paused)" if self.paused else "")

    def upcoming(self, after: datetime, count: int) -> list[datetime]:
        """Give the next times of cron after an aware time, in the zone; none while paused."""
        if self.cron is None or self.paused:
            return []
        times = _times(self.cron, ZoneInfo(self.zone), after)
        return [next(times) for _ in range(count)]


@cache
def _zones() -> list[str]:
    """List the time zones of this machine, which takes a tenth of a second."""
    return sorted(available_timezones())


def _usual(uri: str) -> str:
    """Write a URI as most people would: host in small letters, no default port, no empty folder."""
    scheme, _, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    if scheme in _PORTS:
        host = host.lower().removesuffix(f":{_PORTS[scheme]}")
    path = re.sub(r"/{2,}", "/", _ESCAPED.sub(_unescaped, path)).strip("/")
    return f"{scheme}://{host}{slash if path or not host else ''}{path}"


def _unescaped(escape: re.Match[str]) -> str:
    """Give the letter, digit or mark that an escape stands for and that needs none."""
    letter = chr(int(escape[1], 16))
    return letter if _NEEDS_NO_ESCAPE.fullmatch(letter) else escape[0].upper()


def _is_field(form: re.Pattern[str], text: str) -> bool:
    return all(form.fullmatch(item) for item in text.split(","))


def _check_times(text: str) -> None:
    """Refuse values out of range, and a day that never comes: Airflow would choke on it."""
    from croniter import CroniterBadDateError, CroniterError, croniter

    try:
        croniter(text, _ANY_TIME).get_next(datetime)
    except CroniterBadDateError:
        raise rule(f"must be a time that comes, got {shown(text)}") from None
    except (CroniterError, ValueError, IndexError, KeyError) as error:
        raise rule(f"must be a cron expression, got {shown(text)}: {error}") from None


def _times(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield times as Airflow does: an hourly cron goes on by the hour where clocks change.

    Any other cron takes the later of two equal times, and moves a skipped time to after the change.
    """
    from croniter import croniter

    now = after.astimezone(zone)
    while True:
        local = now.replace(tzinfo=None)
        found = croniter(cron, local)
        then = found.get_next(datetime)
        if found.expanded[1] == ["*"]:
            utc = now.astimezone(UTC) + (then - local)
        else:
            utc = max(then.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        now = max(utc, now.astimezone(UTC) + timedelta(seconds=1)).astimezone(zone)
        yield now
