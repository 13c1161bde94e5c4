"""Numbers, durations and times as people read them."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime

NOTHING = "–"
_EXPONENT = re.compile(r"e([+-])0*(\d)")


def number(value: object, digits: int = 5) -> str:
    """Write a value: numbers to some significant digits, lists as JSON, all else as it is."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == int(value) and abs(value) < 1e7:
        return str(int(value))
    return _EXPONENT.sub(_short_exponent, f"{value:.{digits}g}")


def _short_exponent(match: re.Match[str]) -> str:
    return f"e{'-' if match[1] == '-' else ''}{match[2]}"


def duration(seconds: float | None) -> str:
    """Write a duration: 0.4s, 45s, 3m 20s, 2h 05m, 3d 04h."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3_600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3_600}h {whole % 3_600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3_600:02d}h"


def moment(time: datetime | None) -> str:
    """Write a time to the second, in UTC."""
    return NOTHING if time is None else f"{utc(time):%Y-%m-%d %H:%M:%S} UTC"


def utc(time: datetime) -> datetime:
    """Put a time into UTC; one without a zone is taken to be there already."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def percent(share: float) -> str:
    """Write a share of one as whole percent."""
    return f"{share * 100:.0f} %"


def count(number_of: int, noun: str) -> str:
    """Write "1 trial", "1,000 trials"."""
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def size(bytes_: int) -> str:
    """Write a size with its unit, e.g. `17 bytes` or `1.2 MiB`."""
    unit = next((one for one in (30, 20, 10) if bytes_ >= 1 << one), 0)
    names = {10: "KiB", 20: "MiB", 30: "GiB"}
    return f"{bytes_ / (1 << unit):.3g} {names[unit]}" if unit else count(bytes_, "byte")


def spoken(word: str) -> str:
    """Write a word of the spec as in a sentence: out_of_memory is "out of memory"."""
    return word.replace("_", " ")


def line(text: str, limit: int) -> str:
    """Put text of any origin on one line of printable characters, cut at the limit."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:limit]).split())


def cut(text: str, limit: int) -> str:
    """Cut a text at the limit, and show that it goes on."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
