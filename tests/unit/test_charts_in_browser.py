"""The charts in a browser: every kind of every run is drawn, under a strict policy, without a word
on the console; and the report's script gets to its end."""

from __future__ import annotations

import base64
import hashlib
import html as html_module
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import pytest
from test_report import champion_with, check_of, hostile

from hpo_lib import report
from hpo_lib.core.trial import Observation, Origin
from hpo_lib.records import RunView
from hpo_lib.report import assets, markup
from hpo_lib.report.data import data_of
from hpo_lib.report.importance import Importance, Method
from tests.browser import PROGRAM, browser

BROWSER = PROGRAM
EVIL = "<img src=x onerror=alert(1)>\u202b" + "x" * 2_000
KINDS = {
    "best", "curves", "rungs", "slices", "boxes", "map", "correlation", "parallel", "metrics",
    "overfit", "front", "bought", "distribution", "timeline", "importance", "top", "champion",
}  # fmt: skip

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")

#: Draws every kind that has something to show, light and dark, opens its table, changes its menus.
DRAW = """
const found = {}, errors = [];
addEventListener("error", event => errors.push(String(event.message)));
addEventListener("securitypolicyviolation",
  event => errors.push(`policy: ${event.violatedDirective}`));
for (const name of ["warn", "error"]) console[name] = (...words) => errors.push(words.join(" "));
const runs = JSON.parse(document.getElementById("data").textContent);
const place = document.body.appendChild(document.createElement("div"));
// All that is written on a canvas, and what of it the edge cuts off; a legend's pages are no cut.
const written = chart => (chart?.getZr().storage.getDisplayList(true) ?? [])
  .filter(one => one.type === "tspan" && !one.__clipPaths?.length).map(one => {
    const rect = one.getBoundingRect().clone();
    if (one.transform) rect.applyTransform(one.transform);
    const {x, y, width, height} = rect, [right, below] = [chart.getWidth(), chart.getHeight()];
    return {text: one.style.text,
      cut: x < -2 || y < -2 || x + width > right + 2 || y + height > below + 2};
  });
for (const [name, data] of Object.entries(runs)) {
  found[name] = {};
  for (const kind of hpoCharts.kinds.filter(one => hpoCharts.applies(one, data))) {
    const box = place.appendChild(document.createElement("div"));
    try {
      hpoCharts.draw(box, kind, data, {dark: false});
      for (const menu of box.querySelectorAll("select")) {
        menu.selectedIndex = menu.options.length - 1;
        menu.dispatchEvent(new Event("change"));
      }
      box.querySelector("details").open = true;
      const drawing = hpoCharts.draw(box, kind, data, {dark: true, keep: {metric: 0, most: 0.9}});
      drawing.tell();
      found[name][kind] = {
        said: box.querySelector(".hpo-said").textContent,
        label: box.querySelector("[role=img]").getAttribute("aria-label"),
        canvases: box.querySelectorAll("canvas").length,
        rows: box.querySelectorAll("tbody tr").length,
        images: box.querySelectorAll("img").length,
        words: written(drawing.chart).map(one => one.text),
        cut: written(drawing.chart).filter(one => one.cut).map(one => one.text),
      };
      drawing.dispose();
    } catch (error) {
      errors.push(`${name}: ${kind}: ${error.stack}`);
    }
    box.remove();
  }
}
const told = document.createElement("pre");
told.id = "told";
told.textContent = JSON.stringify({found, errors, kinds: hpoCharts.kinds});
document.body.append(told);
"""


def dom(page: Path) -> str:
    """Give the page as it is once it has been loaded."""
    assert BROWSER is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
    profile = f"--user-data-dir={page.parent}/profile"
    command = [BROWSER, *flags, "--window-size=900,4000", profile, "--dump-dom", f"file://{page}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout


def drawn(folder: Path, runs: Mapping[str, Any]) -> dict[str, Any]:
    """Draw every chart of every run in one browser, and give what it tells."""
    codes = [assets.script(), DRAW]
    digests = [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in codes]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    policy = f"default-src 'none'; script-src {allowed}"
    head = markup.el("meta", http_equiv="Content-Security-Policy", content=policy)
    scripts = [markup.data("data", runs), *map(markup.script, codes)]
    page = folder / "charts.html"
    text = f'<!DOCTYPE html><meta charset="utf-8">{head}<body>{"".join(scripts)}</body>'
    page.write_text(text, encoding="utf-8")
    told = re.search(r'<pre id="told">(.*?)</pre>', dom(page), re.DOTALL)
    assert told, "the script has not come to its end"
    return dict(json.loads(html_module.unescape(told[1])))


def importance(of: RunView) -> list[Importance]:
    names = list(of.run.outline.space)[:2]
    methods = [Method(name, [0.7, 0.3], [0.5, 0.1], [0.9, 0.4], 7) for name in ("a", "b")]
    return [Importance(of.run.outline.objectives[0].metric, 20, names, methods)]


def grid() -> RunView:
    """Every pair of two parameters once, on three values each."""
    pairs = [(x, y) for x in (1, 2, 3) for y in (0.1, 0.2, 0.3)]
    views = [
        factories.view(factories.trial(n, x * y, params={"x": x, "y": y}))
        for n, (x, y) in enumerate(pairs)
    ]
    return RunView(factories.run({"objective": {"metric": "m"}}, check=False), views)


def test_every_kind_of_every_run_is_drawn_as_text_and_without_a_complaint(tmp_path: Path) -> None:
    good = factories.good_run(40)
    steps = [Observation("loss", 1 / step, step) for step in range(1, 9)]
    one = factories.good_run(1, fail=0)
    runs = {
        "none": RunView(factories.run()),
        "one": one,
        "good": replace(good, champion=champion_with(check_of(11), check_of(12))),
        "many": factories.good_run(2_000),
        "failed": factories.failed_run(),
        "rungs": factories.rungs_run(),
        "front": factories.front_run(),
        "front of five": factories.front_run(objectives=5),
        "grid": grid(),
        "alike": RunView(
            factories.run(), [factories.view(factories.trial(n, 0.5)) for n in range(9)]
        ),
        "evil": hostile(EVIL, several=True),
        "running": RunView(
            factories.run(ended_at=None), [factories.view(factories.trial(0), observations=steps)]
        ),
    }
    data = {name: data_of(view) for name, view in runs.items()}
    data["good"] = data_of(runs["good"], importance(good))
    told = drawn(tmp_path, data)
    assert told["errors"] == []
    assert set(told["kinds"]) == KINDS
    found = told["found"]
    assert found["none"] == {}
    assert set().union(*found.values()) == KINDS
    assert set(found["good"]) == KINDS - {"rungs", "front"}
    for kind in ("slices", "parallel"):
        assert {"adam", "sgd", "true", "false", "0.0001", "0.999"} <= set(
            found["good"][kind]["words"]
        )
    for name, charts in found.items():
        for kind, one_ in charts.items():
            words_alone = kind == "top" or (name, kind) == ("alike", "correlation")
            assert (one_["canvases"] == 0) == words_alone, (name, kind)
            assert len(one_["said"]) > 20, (name, kind)
            assert one_["said"] in one_["label"]
            assert one_["images"] == 0
            assert one_["cut"] == [], (name, kind)
            assert "NaN" not in one_["said"], (name, kind, one_["said"])
            assert "undefined" not in one_["said"], (name, kind, one_["said"])


def test_the_report_fills_its_table_and_draws_what_is_in_view(tmp_path: Path) -> None:
    good: RunView = factories.good_run(120)
    final = factories.trial(900, params=dict(good.trials[0].trial.params), origin=Origin.FINAL)
    page = tmp_path / "report.html"
    page.write_text(report.html(replace(good, finals=[factories.view(final)])), encoding="utf-8")
    shown = re.sub(r"<script.*?</script>", "", dom(page), flags=re.DOTALL)
    assert shown.count('id="trial-') == 100
    assert "1 to 100 of 120" in shown
    place = shown.index('id="chart-best"')
    assert "<canvas" in shown[place : place + 4_000]


def test_nothing_of_the_report_is_cut_or_out_of_reach(tmp_path: Path) -> None:
    runs = {"good": factories.good_run(40), "evil": hostile(EVIL, several=True)}
    with browser(tmp_path / "tab") as tab:
        for name, view in runs.items():
            page = tmp_path / f"{name}.html"
            page.write_text(report.html(view), encoding="utf-8")
            for width in (1280, 390):
                tab.resize(width, 900, dark=width < 600)
                tab.open(f"file://{page}")
                tab.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
                assert tab.run("document.documentElement.scrollWidth <= innerWidth"), (name, width)
                assert tab.left_out() == []
                assert tab.troubles == []


def test_a_link_to_a_part_leads_there_though_charts_above_are_not_drawn_yet(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(report.html(factories.good_run(40)), encoding="utf-8")
    with browser(tmp_path / "tab") as tab:
        tab.resize(1280, 900)
        tab.open(f"file://{page}")
        tab.run("document.querySelector('nav a[href=\"#learning\"]').click()")
        tab.until("document.querySelector('#chart-curves canvas')")
        top = tab.run("document.getElementById('learning').getBoundingClientRect().top")
    assert 0 <= top < 60
