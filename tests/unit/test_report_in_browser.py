"""The report in a browser: its script gets to the end, whatever is on the page."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import factories
import pytest

from hpo_lib import report
from hpo_lib.core.trial import Origin
from hpo_lib.records import RunView

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
_SCRIPT = re.compile(r"<script.*?</script>", re.S)


def drawn(page: Path) -> set[str]:
    """Give the charts that have a drawing once the page has been loaded."""
    assert BROWSER is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
    command = [
        BROWSER,
        *flags,
        f"--user-data-dir={page.parent}/profile",
        "--dump-dom",
        f"file://{page}",
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    places = re.split(r'id="(chart-[a-z0-9-]+)"', _SCRIPT.sub("", dom))[1:]
    pairs = zip(places[::2], places[1::2], strict=True)
    return {name for name, after in pairs if "main-svg" in after}


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
def test_the_charts_of_a_run_with_final_trials_are_drawn(tmp_path: Path) -> None:
    good: RunView = factories.good_run(8)
    final = factories.trial(90, params=dict(good.trials[0].trial.params), origin=Origin.FINAL)
    page = tmp_path / "report.html"
    page.write_text(report.html(replace(good, finals=[factories.view(final)])), encoding="utf-8")
    named = set(re.findall(r'class="chart" id="(chart-[a-z0-9-]+)"', page.read_text()))
    assert named
    assert drawn(page) == named
