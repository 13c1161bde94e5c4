"""A run of 10,000 trials with 100 steps of 4 metrics: what its report costs, and its page.

CPU to write the report, the file's size, and what a browser takes to open it; of the page in
Airflow what comes over the wire, what the browser takes for its first view, to sort and to turn a
page, and by how much that makes the server grow. Times of a browser are those of its page's main
thread, as the DevTools protocol counts them.

    python -m benchmarks reports                      all of it
    python benchmarks/reports.py fill FOLDER          the store alone
    python benchmarks/reports.py write FOLDER         in any checkout: write the report of it
    python -m benchmarks.reports open FILE …          what a browser takes to open files
    python -m benchmarks.reports page FOLDER          the page of the run in that folder's store
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from hpo_lib.core.trial import Assignment, Observation
from hpo_lib.installation import Installation
from hpo_lib.records import AttemptState, Outcome, Provenance, RunKey, RunStatus
from hpo_lib.runs import outputs
from hpo_lib.search.engine import Step
from hpo_lib.spec import load
from hpo_lib.store import Store, upgrade
from hpo_lib.store.schema import attempts, observations, trials

if TYPE_CHECKING:
    from tests.browser import Browser

ROOT = Path(__file__).resolve().parents[1]
TRIALS, STEPS, SLOTS = int(os.environ.get("TRIALS", "10000")), 100, 16
METRICS = ("val_loss", "loss", "val_auc", "auc")
CHOICES = ("adam", "sgd", "rmsprop")
SPEC = {
    "name": "large",
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "extra_metrics": list(METRICS[1:]),
    "space": {
        **{f"x{n}": {"type": "float", "low": 0.0, "high": 1.0} for n in range(5)},
        "rate": {"type": "float", "low": 1e-5, "high": 0.1, "scale": "log"},
        "units": {"type": "int", "low": 16, "high": 512},
        "optimizer": {"type": "categorical", "choices": list(CHOICES)},
    },
    "limits": {"max_trials": TRIALS, "parallel_trials": SLOTS},
    "trial": {"command": ["true"]},
}
_WAIT_S = 600.0


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        fill(Path(folder))
        subprocess.run([sys.executable, __file__, "write", folder], check=True, cwd=ROOT)
        (report,) = Path(folder).glob("home/runs/*/report.html")
        opened([report])
        page(Path(folder))


def fill(folder: Path) -> None:
    """Make the store: one trial as ever, and copies of its rows with values of their own."""
    url = f"sqlite:///{folder}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        run = store.start_run(
            RunKey("hpo_local", "large"),
            load(SPEC),
            triggered_by="ada",
            provenance=Provenance(),
        )
        one = Assignment(0, _params(random.Random(0)))
        store.slots.ask(run.id, "slot-001", lambda _: Step(assignments=[one]))
        attempt = store.open_attempt(run.id, 0, lambda _: {})
        series = [Observation(name, 1.0, s, 1.0) for s in range(1, STEPS + 1) for name in METRICS]
        metrics = dict.fromkeys(METRICS, 1.0)
        outcome = Outcome(
            AttemptState.SUCCEEDED, "done", value=1.0, metrics=metrics, observations=series
        )
        store.close_attempt(attempt.id, outcome, final=True)
        _copy(store, attempt.id)
        store.finish_run(run.id, RunStatus.COMPLETE, f"all {TRIALS} trials are done")


def _copy(store: Store, attempt_id: int) -> None:
    with store._database.write() as connection:
        trial = dict(connection.execute(select(trials)).one()._mapping)
        attempt = dict(connection.execute(select(attempts)).one()._mapping)
        query = select(observations).order_by(observations.c.position)
        rows = [dict(row._mapping) for row in connection.execute(query)]
        for first in range(1, TRIALS, 500):
            made = [_trial(number) for number in range(first, min(first + 500, TRIALS))]
            connection.execute(insert(trials), [{**trial, **one[0]} for one in made])
            ends = [{**attempt, **one[1], "id": attempt_id + one[0]["number"]} for one in made]
            connection.execute(insert(attempts), ends)
            connection.execute(
                insert(observations),
                [
                    {**row, "attempt_id": end["id"], "value": value}
                    for one, end in zip(made, ends, strict=True)
                    for row, value in zip(rows, one[2], strict=True)
                ],
            )


def _params(chance: random.Random) -> dict[str, Any]:
    return {
        **{f"x{n}": chance.random() for n in range(5)},
        "rate": 10 ** chance.uniform(-5, -1),
        "units": chance.randint(16, 512),
        "optimizer": chance.choice(CHOICES),
    }


def _trial(number: int) -> tuple[dict[str, Any], dict[str, Any], list[float]]:
    """Give what differs from the first trial: of the trial, of its attempt, and what it shows."""
    chance = random.Random(number)
    params = _params(chance)
    good = (params["x0"] - 0.3) ** 2 + 0.1 * abs(params["rate"] - 0.01) + chance.gauss(0.2, 0.02)
    series = [
        value + chance.gauss(0, 0.002)
        for step in range(1, STEPS + 1)
        for value in (good + 1 / step, good * 0.9 + 1 / step, 0.95 - good, 0.97 - good)
    ]
    began = datetime.now(UTC) - timedelta(days=2) + timedelta(seconds=10.0 * (number // SLOTS))
    times = {"started_at": began, "ended_at": began + timedelta(seconds=chance.uniform(5, 10))}
    last = dict(zip(METRICS, series[-4:], strict=True))
    row = {"number": number, "params": params, "params_hash": str(number), "metrics": last}
    slot = {"slot": f"slot-{number % SLOTS + 1:03d}", "value": last["val_loss"]}
    return {**row, **slot, **times}, {"trial": number, **times}, series


def write(folder: Path) -> None:
    """Write the report and print what that took, this process and those that it began."""
    home = folder / f"home{os.environ.get('HOME_TAG', '')}"
    with Store.open(f"sqlite:///{folder}/hpo.db") as store:
        began, (run,) = _cpu_s(), store.runs()
        path = outputs.write_report(store, run, Installation(home, {}))
        took = _cpu_s() - began
    sizes = {one.name: f"{one.stat().st_size / 1e6:.2f} MB" for one in path.parent.iterdir()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"written in {took:.1f} s of CPU, at most {peak:.0f} MiB: {sizes}", flush=True)


def _cpu_s() -> float:
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in own)


def opened(paths: list[Path]) -> None:
    """Open files in a browser, one by one, and print what its first view took, and all charts."""
    from tests.browser import browser

    for path in paths:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            with browser(Path(folder)) as tab:
                tab.resize(1280, 900)
                busy = Busy(tab)
                tab.open(f"file://{path.resolve()}")
                first, wall = busy.settled()
                tab.run(_THROUGH)
                whole, _ = busy.settled()
            size = path.stat().st_size / 1e6
            print(
                f"{path.name} of {size:.2f} MB: first view {first:.2f} s of the browser in "
                f"{wall:.1f} s, then all of it by scrolling {whole:.2f} s",
                flush=True,
            )


#: Scrolls to the end, a screen at a time.
_THROUGH = """new Promise(async done => {
  for (let y = 0; y < document.documentElement.scrollHeight; y += 700) {
    scrollTo({top: y, behavior: "instant"});
    await new Promise(next => requestAnimationFrame(() => setTimeout(next, 30)));
  }
  done(1);
})"""


class Busy:
    """How long a tab's main thread has worked since this was last asked."""

    def __init__(self, tab: Browser) -> None:
        """Begin to count."""
        self.tab, self.since = tab, 0.0
        tab.ask("Performance.enable", timeDomain="threadTicks")
        self.since, self.began = self._now(), time.monotonic()

    def _now(self) -> float:
        found = {
            one["name"]: one["value"] for one in self.tab.ask("Performance.getMetrics")["metrics"]
        }
        return float(found["TaskDuration"])

    def settled(self) -> tuple[float, float]:
        """Wait until the thread has rested for a second; give its seconds of work, and of wall."""
        before, quiet_since, end = self._now(), time.monotonic(), time.monotonic() + _WAIT_S
        while time.monotonic() < end and time.monotonic() - quiet_since < 1:
            time.sleep(0.1)
            now = self._now()
            if now - before > 0.01:
                quiet_since = time.monotonic()
            before = now
        took, wall = before - self.since, quiet_since - self.began
        self.since, self.began = self._now(), time.monotonic()
        return took, wall


def page(folder: Path) -> None:
    """Open the page of the run and print what that takes here, over the wire and on the server."""
    from tests.browser import browser

    with (
        served(folder) as (address, server),
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        browser(Path(profile)) as tab,
    ):
        tab.open(f"{address}/experiments")
        tab.until("document.querySelector('tbody tr')")
        before = _rss_mib(server)
        tab.resize(1280, 900)
        tab.received = 0
        busy = Busy(tab)
        tab.open(f"{address}/run?id=1")
        tab.until(
            "document.querySelector('#trials tbody tr') && document.querySelector('#chart-best')"
        )
        first, wall = busy.settled()
        print(
            f"page: {tab.received / 1e6:.2f} MB over the wire, first view {first:.2f} s of the "
            f"browser in {wall:.1f} s, the server grew by {_rss_mib(server) - before:.0f} MiB"
        )
        for what, click in _CLICKS.items():
            shown = "document.querySelector('#trials tbody th').innerText"
            now = tab.run(shown)
            tab.run(click)
            tab.until(f"{shown} !== {now!r}")
            took, _ = busy.settled()
            print(f"page: to {what} {took:.2f} s of the browser")
        tab.run(_THROUGH)
        tab.until("document.getElementById('next').innerText.includes('mattered')")
        whole, _ = busy.settled()
        grown = _rss_mib(server) - before
        print(
            f"page: all charts and advice {whole:.2f} s more, the server by {grown:.0f} MiB in all"
        )


_CLICKS = {
    "sort": "document.querySelector('#trials th button').click()",
    "turn a page": "document.querySelector('#trials [data-key=next]').click()",
}


def _rss_mib(pid: int) -> float:
    import psutil

    return float(psutil.Process(pid).memory_info().rss) / 2**20


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, int]]:
    """Serve the pages and the API in a process of their own, with Airflow's compression."""
    command = [sys.executable, "-m", "benchmarks.reports", "serve", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        said = iter(process.stdout.readline, "") if process.stdout else iter(())
        where = next((line.strip() for line in said if line.startswith("http")), None)
        if where is None:
            sys.exit("the page cannot be served, see above: it needs the packages of `make setup`")
        yield where, process.pid
    finally:
        process.terminate()
        process.wait()


def serve(folder: Path) -> None:
    """Serve until the end of this process, and say where."""
    import asyncio

    import uvicorn
    from fastapi.middleware.gzip import GZipMiddleware

    from hpo_airflow import pages
    from tests.integration.api_client import ApiClient
    from tests.integration.test_pages import mounted

    async def go() -> None:
        with Store.open(f"sqlite:///{folder}/hpo.db") as store:
            app = mounted(ApiClient(store))
            app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)
            server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
            task = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.05)
            port = server.servers[0].sockets[0].getsockname()[1]
            print(f"http://127.0.0.1:{port}{pages.PREFIX}", flush=True)
            await task

    asyncio.run(go())


if __name__ == "__main__":
    what, *paths = [Path(one) for one in sys.argv[1:]]
    {"fill": fill, "write": write, "page": page, "serve": serve}.get(
        str(what), lambda *_: opened(paths)
    )(*paths[:1])
