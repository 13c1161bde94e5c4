"""The pages without Airflow around them: who gets them, and what a real browser makes of them."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn
from fastapi.testclient import TestClient

from hpo_airflow import pages
from hpo_airflow.api.rights import caller
from hpo_airflow.pages import app as serving
from hpo_airflow.pages.app import VIEWS
from hpo_lib.store import Store
from tests.browser import PROGRAM, Browser, browser
from tests.integration.api_client import ApiClient, FakeCaller, new_store
from tests.shown_runs import Clock, fill

if TYPE_CHECKING:
    from fastapi import FastAPI

STATIC = Path(pages.__file__).with_name("static")
needs_browser = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")


def mounted(api: ApiClient) -> FastAPI:
    """Put the pages beside the API, for whoever asks that."""
    app, found = api.take_over(), serving.application()
    found.dependency_overrides = {caller: api._caller}
    app.mount(pages.PREFIX, found)
    return app


@pytest.fixture
def client(tmp_path: Path) -> Iterator[tuple[ApiClient, TestClient]]:
    with new_store(tmp_path) as store:
        api = ApiClient(store)
        yield api, TestClient(mounted(api))


def addresses(client: TestClient) -> list[str]:
    """Name every page, and every file that a page is made of."""
    text = client.get(f"{pages.PREFIX}/runs").text
    (folder,) = set(re.findall(r'data-assets="([^"]+)"', text))
    files = [f"{folder}/{name}" for name in serving.assets()]
    return [f"{pages.PREFIX}/{path}" for path in (*VIEWS, *files)]


def test_pages_and_their_files_are_for_those_who_may_see_runs(
    client: tuple[ApiClient, TestClient],
) -> None:
    api, asks = client
    every = addresses(asks)
    assert {asks.get(path).status_code for path in every} == {200}
    api.who = FakeCaller(rights=())
    assert {asks.get(path).status_code for path in every} == {403}
    api.who = None
    assert {asks.get(path).status_code for path in every} == {401}


def test_a_page_may_run_its_own_scripts_alone(client: tuple[ApiClient, TestClient]) -> None:
    _, asks = client
    for path in addresses(asks):
        policy = asks.get(path).headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'; " in policy
        assert "unsafe" not in policy
    for view in VIEWS:
        text = asks.get(f"{pages.PREFIX}/{view}").text
        assert (
            re.search(r"<script(?! type=\"module\" src=\"assets/[0-9a-f]+/page.js\">)", text)
            is None
        )
        assert re.search(r"https?://|\son\w+=|\sstyle=", text) is None


def test_files_of_another_version_and_pages_that_there_are_none_of_are_not_there(
    client: tuple[ApiClient, TestClient],
) -> None:
    _, asks = client
    for path in ("nope", "assets/0123456789abcdef/page.js", "assets/../app.py", "page.html"):
        assert asks.get(f"{pages.PREFIX}/{path}").status_code == 404


def test_every_view_has_a_script_and_nothing_is_put_on_a_page_but_as_text() -> None:
    assert {f"{view}.js" for view in VIEWS} <= set(serving.assets())
    for path in STATIC.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        assert found == [], path.name


def test_airflow_is_told_of_a_page_and_two_tabs() -> None:
    places = {one["destination"]: one["href"] for one in pages.VIEWS}
    assert set(places) == {"nav", "dag_run", "task_instance"}
    assert all(str(href).split("?")[0].rpartition("/")[2] in VIEWS for href in places.values())


# In a browser -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, int]]]:
    """Serve pages and API over a store with a run of every kind; the address and their numbers."""
    clock = Clock()
    folder = tmp_path_factory.mktemp("shown")
    new_store(folder).close()
    with Store.open(f"sqlite:///{folder}/hpo.db", now=clock) as store:
        made = fill(store, clock)
        api = ApiClient(store)
        server = uvicorn.Server(uvicorn.Config(mounted(api), port=0, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}{pages.PREFIX}", made
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


def opened(tab: Browser, address: str, ready: str) -> str:
    """Open a page, wait for what shows that it is there, and give all that it says."""
    tab.troubles.clear()
    tab.open(address)
    tab.until(f"document.querySelector({ready!r})")
    assert tab.troubles == []
    assert tab.run("document.documentElement.scrollWidth <= innerWidth"), "it is not too wide"
    assert tab.left_out() == []
    assert tab.run("document.querySelectorAll('main img, main script, main i b').length") == 0
    return str(tab.run("document.body.innerText"))


@needs_browser
def test_every_kind_of_run_is_shown_without_a_complaint(
    shown: tuple[str, dict[str, int]], tab: Browser
) -> None:
    base, made = shown
    ready = {"refused": "#audit", "empty": "#trials .none"}
    for width, dark in ((1280, False), (390, True)):
        tab.resize(width, 900, dark=dark)
        for kind, number in made.items():
            wanted = ready.get(kind, "#trials tbody tr")
            said = opened(tab, f"{base}/run?id={number}", wanted)
            assert f"run {number}" in said, kind
        theme = tab.run("document.documentElement.dataset.theme")
        assert theme == ("dark" if dark else "light")


@needs_browser
def test_every_other_page_is_shown_without_a_complaint(
    shown: tuple[str, dict[str, int]], tab: Browser
) -> None:
    base, made = shown
    tab.resize(1280, 900)
    said = opened(tab, f"{base}/experiments", "tbody tr th")
    assert "digits" in said
    said = opened(tab, f"{base}/runs", "tbody tr th")
    assert f"#{made['refused']}" in said
    said = opened(tab, f"{base}/trial?run={made['ended']}&n=1", "#curves svg")
    assert "val_accuracy" in said
    opened(tab, f"{base}/trial?run={made['nasty']}&n=7", "#attempts td")
    two = f"run={made['ended']}&run={made['nasty']}"
    said = opened(tab, f"{base}/compare?{two}", "#side td")
    assert "space.odd" in said
    said = opened(tab, f"{base}/champions?experiment=digits", "details.model")
    assert "Promoted" in said


@needs_browser
def test_a_page_follows_its_run_without_being_loaded_again(
    shown: tuple[str, dict[str, int]], tab: Browser
) -> None:
    base, made = shown
    tab.resize(1280, 900)
    opened(tab, f"{base}/run?id={made['running']}", "#trials tbody tr")
    tab.run("window.marked = true")
    tab.run("[...document.querySelectorAll('button')].find(b => b.innerText === 'Stop …').click()")
    tab.until("document.querySelector('dialog[open]')")
    tab.run("document.querySelector('dialog .primary').click()")
    tab.until("document.body.innerText.includes('Stopping: stopped by ada')")
    assert tab.run("window.marked") is True
    assert tab.troubles == []


@needs_browser
def test_what_to_do_next_is_worked_out_for_whoever_gets_there(
    shown: tuple[str, dict[str, int]], tab: Browser
) -> None:
    base, made = shown
    tab.resize(1280, 900)
    opened(tab, f"{base}/run?id={made['ended']}", "#chart-best canvas")
    tab.run("document.getElementById('next').scrollIntoView()")
    tab.until("document.getElementById('next').innerText.includes('mattered most')")
    tab.run("document.getElementById('chart-importance').scrollIntoView()")
    tab.until("document.querySelector('#chart-importance canvas')")
    assert tab.left_out() == []
    assert tab.troubles == []


@needs_browser
def test_trials_are_sorted_filtered_and_shown_by_the_columns_that_one_likes(
    shown: tuple[str, dict[str, int]], tab: Browser
) -> None:
    base, made = shown
    opened(tab, f"{base}/run?id={made['ended']}", "#trials tbody tr")
    first = "document.querySelector('#trials tbody th').innerText"
    tab.run("[...document.querySelectorAll('#trials th button')][0].click()")
    tab.until(f"{first} === '1'")
    tab.run("[...document.querySelectorAll('#trials th button')][0].click()")
    tab.until(f"{first} === '12'")
    assert tab.run("document.querySelector('#trials th').getAttribute('aria-sort')") == "descending"
    tab.run("[...document.querySelectorAll('.ticks input')][4].click()")
    tab.until("document.querySelectorAll('#trials tbody tr').length === 1")
    assert "state=failed" in str(tab.run("location.search"))
    assert tab.troubles == []
