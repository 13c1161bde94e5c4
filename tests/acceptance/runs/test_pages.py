"""The pages in the frames of a real Airflow's UI, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.acceptance.conftest import Stack, until
from tests.acceptance.runs.test_run import conf
from tests.browser import PROGRAM, Browser, browser

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium"),
]

#: What Chromium says of every frame as Airflow makes them, whatever is in it.
AIRFLOWS = "An iframe which has both allow-scripts and allow-same-origin"
FRAME = "document.querySelector('iframe').contentDocument"


@pytest.fixture
def tab(up: Stack, tmp_path: Path) -> Iterator[Browser]:
    """A browser that has logged in, as Airflow's own page of that does."""
    with browser(tmp_path / "chromium") as found:
        found.resize(1400, 1000)
        found.ask(
            "Network.setCookie", name="_token", value=up.client().login(), url=up.client().url
        )
        yield found


def within(tab: Browser, address: str, ready: str) -> None:
    """Open a page of Airflow's, and wait for something in its frame."""
    tab.troubles.clear()
    tab.open(address)
    tab.until(f"{FRAME}.querySelector({ready!r})")
    assert [one for one in tab.troubles if "/hpo/" in one and AIRFLOWS not in one] == []


def test_pages_stand_in_airflows_own_and_follow_a_run(up: Stack, tab: Browser) -> None:
    base = up.client().url
    key = up.trigger(conf(name="watched", limits={"max_trials": 2, "parallel_trials": 1}))
    run = until(lambda: up.find(key), "the run")
    place = f"{base}/dags/{key.dag_id}/runs/{quote(key.dag_run_id, safe='')}"
    within(tab, f"{place}/plugin/hpo-run", "#trials")
    tab.run("window.marked = true")
    up.complete(key)
    done = f"{FRAME}.body.innerText.includes('max trials reached: 2 of 2')"
    assert tab.until(f"{done} && {FRAME}.querySelectorAll('#trials tbody tr').length === 2")
    assert tab.run("window.marked") is True, "it was not loaded again"

    within(tab, f"{base}/plugin/hpo", "tbody tr th")
    assert "watched" in tab.run(f"{FRAME}.body.innerText")
    tab.run(
        f"[...{FRAME}.querySelectorAll('tbody th a')].find(a => a.innerText === 'watched').click()"
    )
    tab.until(f"{FRAME}.title === 'Runs of watched'")
    assert tab.until("location.href.includes('experiment=watched')"), "it may be sent to others"
    tab.until(f"{FRAME}.querySelector('tbody th a')")
    tab.run(f"{FRAME}.querySelector('tbody th a').click()")
    tab.until(f"{FRAME}.querySelector('#trials tbody tr')")
    tab.run(
        f"[...{FRAME}.querySelectorAll('.links a')].find(a => a.innerText === 'In Airflow').click()"
    )
    tab.until(f"decodeURIComponent(location.pathname).endsWith({'/runs/' + key.dag_run_id!r})")

    task = f"{place}/tasks/slot/mapped/0/plugin/hpo-trial"
    within(tab, task, "#attempts tbody tr")
    assert f"of run {run.id}" in tab.run(f"{FRAME}.body.innerText")


def test_the_theme_is_airflows(up: Stack, tab: Browser) -> None:
    within(tab, f"{up.client().url}/plugin/hpo", "h1")
    theme = f"{FRAME}.documentElement.dataset.theme"
    assert tab.run(theme) == "light"
    tab.run("document.documentElement.classList.replace('light', 'dark')")
    assert tab.until(f"{theme} === 'dark'")
