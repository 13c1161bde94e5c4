"""Commands about the runs of any Airflow, over the REST API: list, watch, read, stop, extend."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.cli import contexts, exporting, tables
from hpo_lib.cli.console import put, remark, say
from hpo_lib.cli.spec_file import read_conf, read_elsewhere
from hpo_lib.cli.umask import asked_for
from hpo_lib.errors import HpoError, NotFound, SpecError, TransientError

if TYPE_CHECKING:
    from hpo_lib.cli.airflow_api import Airflow
    from hpo_lib.cli.without_airflow import Reader

_POLL_S, _AGAIN_S, _TRIES = 2.0, 5.0, 10
_PAGE = 200
_ENDS = {"complete": 0, "failed": 1, "refused": 2}


def runs(options: argparse.Namespace) -> int:
    """List runs, the newest first."""
    query = {"experiment": options.experiment, "status": options.status, "limit": options.limit}
    found = contexts.reader(options).hpo("GET", "/runs", **query)
    lines = tables.runs(found["runs"], tables.width_of(wide=options.wide))
    tables.show(found["runs"], lines, as_json=options.json)
    return 0


def experiments(options: argparse.Namespace) -> int:
    """List experiments by name."""
    found = list(pages(contexts.reader(options), "/experiments", "experiments"))
    tables.show(found, tables.experiments(found), as_json=options.json)
    return 0


def status(options: argparse.Namespace) -> int:
    """Say where a run is."""
    client = contexts.reader(options)
    run = client.hpo("GET", f"/runs/{options.number}")
    url = client.run_url(run["dag_id"], run["dag_run_id"])
    tables.show(run, tables.status(run, url), as_json=options.json)
    return 0


def of_a_run(options: argparse.Namespace) -> Reader:
    """Give whom to ask; where no run is named, name the newest one, and say which that is."""
    reader = contexts.reader(options)
    _name_newest(reader, options)
    return reader


def _name_newest(client: Reader, options: argparse.Namespace) -> None:
    if options.number is None:
        found = client.hpo("GET", "/runs", limit=1)["runs"]
        if not found:
            raise NotFound("there is no run yet")
        options.number = found[0]["id"]
        remark(f"run {options.number} of {found[0]['experiment']}, the newest:")


def watch(options: argparse.Namespace) -> int:
    """Follow a run to its end; 0 if it is complete."""
    client = contexts.client(options)
    _name_newest(client, options)
    try:
        return follow(client, options.number, as_json=options.json)
    except KeyboardInterrupt:
        say(f"\nrun {options.number} goes on: `hpo watch {options.number}` follows it again")
        raise


def follow(client: Airflow, number: int, *, as_json: bool = False) -> int:
    """Show a run's progress until it has ended, then how; gives the exit code."""
    from hpo_lib.cli.progress import shower

    show = (lambda _: None) if as_json else shower(say)
    run = client.hpo("GET", f"/runs/{number}")
    while run["status"] == "running":
        show(f"{tables.bar(run)} {run['line']}")
        time.sleep(_POLL_S)
        try:
            run = client.hpo("GET", f"/runs/{number}")
        except TransientError:
            show("waiting for Airflow to answer")
    if not as_json and sys.stderr.isatty():
        sys.stderr.write("\n")
    lines = [*tables.status(run, client.run_url(run["dag_id"], run["dag_run_id"]))]
    if not as_json and run["status"] != "refused":
        lines += tables.best(client.hpo("GET", f"/runs/{number}/best"))
        lines.append(f"report: hpo report {number} --open")
    tables.show(run, lines, as_json=as_json)
    return _ENDS.get(run["status"], 1)


def pages(client: Reader, path: str, name: str, **query: Any) -> Iterator[Any]:
    """Give all entries of a list, a page at a time."""
    after = None
    while True:
        page = client.hpo("GET", path, limit=_PAGE, after=after, **query)
        yield from page[name]
        after = page["next"]
        if after is None:
            return


def trials(options: argparse.Namespace) -> int:
    """List the trials of a run."""
    client, final = of_a_run(options), "true" if options.final else None
    found = list(pages(client, f"/runs/{options.number}/trials", "trials", final=final))
    lines = tables.trials(found, tables.width_of(wide=options.wide))
    tables.show(found, lines, as_json=options.json)
    return 0


def best(options: argparse.Namespace) -> int:
    """Show the best trial of a run; 1 if there is none."""
    found = of_a_run(options).hpo("GET", f"/runs/{options.number}/best")
    tables.show(found, tables.best(found), as_json=options.json)
    return 0 if found["trials"] else 1


def log(options: argparse.Namespace) -> int:
    """Print the log of a trial's newest attempt, or of another; with `follow`, until it has ended.

    Whoever follows a trial that is tried again sees the attempts that come, too.
    """
    client = contexts.client(options)
    path = f"/runs/{options.number}/trials/{options.trial}"
    attempt, offset = options.attempt or _newest_attempt(client, path), 0
    if attempt and attempt > 1 and not options.attempt:
        remark(f"attempt {attempt}; --attempt N shows another")
    while True:
        page = client.hpo("GET", f"{path}/log", offset=offset, limit=1000, attempt=attempt)
        for text in page["lines"]:
            say(json.dumps(text) if options.json else text)
        offset = page["next"]
        if page["ended"]:
            newest = _newest_attempt(client, path) if options.follow else attempt
            if options.attempt or newest == attempt:
                return 0
            attempt, offset = newest, 0
            remark(f"attempt {attempt}:")
        elif not (page["lines"] or options.follow):
            return 0
        elif not page["lines"]:
            time.sleep(_POLL_S)


def _newest_attempt(client: Reader, path: str) -> int | None:
    """Number a trial's newest attempt; None before the first."""
    return max((int(one["number"]) for one in client.hpo("GET", path)["attempts"]), default=None)


def spec(options: argparse.Namespace) -> int:
    """Print the spec of a run, as YAML."""
    import yaml

    found = contexts.reader(options).hpo("GET", f"/runs/{options.number}/spec")
    text = json.dumps(found) if options.json else yaml.safe_dump(found, sort_keys=False)
    say(text.rstrip())
    return 0


def conf(options: argparse.Namespace) -> int:
    """Print a spec file as the JSON that Airflow's trigger dialog takes.

    Only the Airflow of this folder has the folders of this machine.
    """
    read = read_conf if contexts.chosen(options) is None else read_elsewhere
    say(json.dumps(read(options.file).dump(), indent=None if options.json else 2))
    return 0


def report(options: argparse.Namespace) -> int:
    """Save the report of a run, and open it in a browser if that is wanted."""
    answer = of_a_run(options).hpo_raw("GET", f"/runs/{options.number}/report")
    place = (options.output or Path(f"hpo-run-{options.number}.html")).absolute()
    _write(place, answer.content)
    tables.show({"report": str(place)}, [str(place)], as_json=options.json)
    if options.open:
        webbrowser.open(place.as_uri())
    return 0


def export(options: argparse.Namespace) -> int:
    """Write the trials of a run as a table: CSV, JSON or Parquet; or bring it to another tool."""
    if options.to is not None:
        return exporting.export(options)
    client = of_a_run(options)
    if options.form == "csv" and not options.json:
        content = client.hpo_raw("GET", f"/runs/{options.number}/trials.csv").content
    else:
        found = list(pages(client, f"/runs/{options.number}/trials", "trials"))
        content = json.dumps(found).encode() if options.json else _parquet(options.number, found)
    if options.output is not None:
        _write(Path(options.output), content)
        remark(f"wrote {options.output}")
        return 0
    if options.form == "parquet" and not options.json and sys.stdout.isatty():
        raise SpecError("--parquet: is no text; name a file with -o")
    put(content)
    return 0


def _write(place: Path, content: bytes) -> None:
    try:
        with asked_for():
            place.write_bytes(content)
    except OSError as error:
        raise SpecError(f"{place}: cannot be written: {error.strerror}") from None


def _parquet(run: int, found: list[dict[str, Any]]) -> bytes:
    """Write trials as Parquet, in the columns of docs/results.md that the REST API tells."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise HpoError("--parquet needs the package pyarrow, in the extra results") from None
    rows = [_flat(run, one) for one in found]
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = pyarrow.BufferOutputStream()
    columns = {name: _alike([row.get(name) for row in rows]) for name in names}
    parquet.write_table(pyarrow.table(columns), out)
    return bytes(out.getvalue())


#: By column: what the REST API calls it.
_COLUMNS = {
    "trial": "number",
    "reused": "reused_from",
    **{name: name for name in ("state", "value", "cause", "reason", "origin", "seed", "slot")},
}


def _flat(run: int, trial: dict[str, Any]) -> dict[str, Any]:
    ends = [one["ended_at"] for one in trial["attempts"]]
    ended = ends and None not in ends and trial["state"] != "waiting"
    return {
        "run": run,
        **{column: trial.get(name) for column, name in _COLUMNS.items()},
        "attempts": len(ends),
        "started": _time(min((one["started_at"] for one in trial["attempts"]), default=None)),
        "ended": _time(max(ends)) if ended else None,
        "duration_s": trial["duration_s"],
        **{f"param_{name}": value for name, value in trial["params"].items()},
        **{f"metric_{name}": value for name, value in trial["metrics"].items()},
    }


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _alike(column: list[Any]) -> list[Any]:
    """Give values of one type: numbers as floats if any is one, a mixture as text."""
    kinds = {type(value) for value in column if value is not None}
    if kinds == {int, float}:
        return [math.nan if value is None else float(value) for value in column]
    if len(kinds) > 1:
        return [None if value is None else str(value) for value in column]
    return column


def stop(options: argparse.Namespace) -> int:
    """Stop a run gracefully."""
    return _ended(options, f"/runs/{options.number}/stop")


def cancel(options: argparse.Namespace) -> int:
    """End a run at once."""
    return _ended(options, f"/runs/{options.number}/cancel")


def stop_trial(options: argparse.Namespace) -> int:
    """Stop a trial."""
    return _ended(options, f"/runs/{options.number}/trials/{options.trial}/stop")


def _ended(options: argparse.Namespace, path: str) -> int:
    found = again(lambda: contexts.client(options).hpo("POST", path))
    what = f"run {found['run']}" + (f", trial {found['trial']}" if found["trial"] else "")
    state = "is being stopped" if found["state"] == "running" else f"has ended: {found['state']}"
    told = f"{what} {state}" + (f" ({found['reason']})" if found["reason"] else "")
    tables.show(found, [told], as_json=options.json)
    return 0


def extend(options: argparse.Namespace) -> int:
    """Let a run have more trials: how many in all is asked for, so that asking twice is once."""
    client = contexts.client(options)
    most = client.hpo("GET", f"/runs/{options.number}")["max_trials"]
    if most is None:
        raise SpecError(f"run {options.number} was refused, or its spec cannot be read any more")
    body = {"max_trials": most + options.trials}
    found = again(lambda: client.hpo("POST", f"/runs/{options.number}/extend", body))
    told = f"run {found['id']} goes on, to {body['max_trials']} trials; hpo watch {found['id']}"
    tables.show(found, [told], as_json=options.json)
    return 0


def add_point(options: argparse.Namespace) -> int:
    """Have a run try a configuration."""
    body = {"params": dict(_parameter(word) for word in options.params)}
    client = contexts.client(options)
    found = again(lambda: client.hpo("POST", f"/runs/{options.number}/points", body))
    tables.show(found, [f"run {found['id']} tries it next"], as_json=options.json)
    return 0


def _parameter(word: str) -> tuple[str, Any]:
    """Read NAME=VALUE: a value is JSON, or else text as it stands."""
    name, sign, value = word.partition("=")
    if not sign:
        raise SpecError(f"a parameter must be NAME=VALUE, got {word}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def again(ask: Callable[[], Any]) -> Any:
    """Ask what may be asked twice until it is answered, some times."""
    for _ in range(_TRIES - 1):
        try:
            return ask()
        except TransientError:
            time.sleep(_AGAIN_S)
    return ask()
