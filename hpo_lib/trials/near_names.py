"""Names that an attempt has left in place of a metric that is missing: which of them was meant."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from hpo_lib.collectors import Source
from hpo_lib.files.places import tail
from hpo_lib.registry import load as load_part
from hpo_lib.spec import Spec
from hpo_lib.words import line

#: Names that count or date the values beside them.
NO_METRICS = frozenset({"epoch", "step", "time"})
#: Endings of files' names: beside these a number is a line, a count or a size.
_FILE = re.compile(
    r".*\.(cc|ckpt|cpp|csv|cu|gz|h5|hdf5|ini|ipynb|joblib|jpe?g|jsonl?|keras|log|npy|npz|onnx"
    r"|parquet|pb|pickle|pkl|png|pth?|py|safetensors|sh|so|sql|tar|tflite|toml|tsv|txt|whl|xml"
    r"|ya?ml|zip)",
    re.IGNORECASE,
)
#: Variables of the environment, which programs tell in their logs: TF_ENABLE_ONEDNN_OPTS=0.
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
#: A hint is worth the end of a log, and so many values and names, cut at so many characters.
_LOG_BYTES, _SIGHTINGS, _NAMES, _LONGEST = 1 << 20, 100_000, 1_000, 80
_SHOWN = 10
_ALIKE = 0.75


def no_metric(name: str, wanted: Collection[str]) -> bool:
    """Say whether a name counts or dates what is beside it, or is a file's or a variable's.

    One in capitals that is near a `wanted` metric is no variable.
    """
    if _VARIABLE.fullmatch(name):
        return near(name, wanted) is None
    return name in NO_METRICS or _FILE.fullmatch(name) is not None


def names_seen(spec: Spec, source: Source) -> set[str]:
    """Name what looks like a metric where the spec's collector looks; nothing if it cannot tell."""
    collector = load_part("collector", spec.metrics.collector)(spec.metrics)
    found: set[str] = set()
    with suppress(Exception), tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        log.write_bytes(tail(source.log, _LOG_BYTES))
        for name in islice(_sighted(collector, replace(source, log=log)), _SIGHTINGS):
            if len(found) == _NAMES:
                break
            found.add(line(name, _LONGEST))
    return {name for name in found if not no_metric(name, spec.goal.metrics)}


def _sighted(collector: Any, source: Source) -> Iterator[str]:
    sightings = collector.sightings(source) if hasattr(collector, "sightings") else ()
    yield from (one.name for one in sightings)


def asked(missing: Sequence[str], seen: Collection[str]) -> str:
    """Ask whether a name that was seen is meant by one that is missing; nothing if none is near."""
    meant = {name: near(name, seen) for name in missing}
    pairs = [(name, other) for name, other in meant.items() if other is not None]
    if len(missing) == 1:
        return "".join(f"; is it {other}?" for _, other in pairs)
    return "".join(f"; is {name} {other}?" for name, other in pairs)


def listed(names: Collection[str]) -> str:
    """List names in order, and of very many the first."""
    more = len(names) - _SHOWN
    return ", ".join(sorted(names)[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def near(name: str, seen: Collection[str]) -> str | None:
    """Give the name that was probably meant: a number behind it, a short or long form, a slip."""
    plain = {_plain(one): one for one in sorted(seen, reverse=True) if one != name}
    wanted = _plain(name)
    numbered = [one for one in plain if re.fullmatch(rf"{re.escape(wanted)}_[0-9]+", one)]
    forms = [one for one in plain if _is_form(wanted, one)]
    alike = difflib.get_close_matches(wanted, plain, n=1, cutoff=_ALIKE)
    parts = [one for one in plain if _is_part(wanted, one)]
    for found in (numbered, forms, alike, parts):
        if found:
            return plain[min(found, key=lambda one: (len(one), one))]
    return None


def _plain(name: str) -> str:
    return re.sub(r"\W", "_", name.lower())


def _is_form(one: str, other: str) -> bool:
    """Say whether one begins with the other: acc, accuracy."""
    short, long = sorted((one, other), key=len)
    return len(short) > 1 and long.startswith(short)


def _is_part(one: str, other: str) -> bool:
    """Say whether one ends with the other as a word: loss, val_loss."""
    short, long = sorted((one, other), key=len)
    return len(short) > 1 and long.endswith(f"_{short}")
