"""The page on metrics and the README's first script say what is true: both are tried."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from format_contract import points, read

from hpo_lib import registry
from hpo_lib.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text()
SHOWN = re.compile(
    r"### `(?P<name>[^`]+)`\n.*?```text\n(?P<log>.*?)```\n\n"
    r"`(?P<metric>[^`]+)` is (?P<value>\S+) at step (?P<step>\d+)\.\n",
    re.S,
)
EXAMPLES = {found["name"]: found for found in SHOWN.finditer(PAGE)}


def test_every_format_has_a_log_on_the_page() -> None:
    assert EXAMPLES.keys() == registry.FORMATS.keys()


@pytest.mark.parametrize("name", registry.FORMATS)
def test_the_log_is_read_as_the_page_says(tmp_path: Path, name: str) -> None:
    shown = EXAMPLES[name]
    log = tmp_path / "log.txt"
    log.write_text(shown["log"])
    expected = (int(shown["step"]), float(shown["value"]))
    for settings in ({}, {"format": name}):
        if (name, settings) != ("json", {"format": "json"}):  # its message is of another format
            assert points(read(log, [shown["metric"]], **settings))[shown["metric"]][-1] == expected


def test_the_script_of_the_readme_is_read_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (ROOT / "README.md").read_text()
    script, spec = (
        re.search(rf"```{kind}\n({begins}.*?)```", readme, re.S)
        for kind, begins in (("python", "import argparse"), ("yaml", "name: mine"))
    )
    assert script
    assert spec
    (tmp_path / "train.py").write_text(script[1])
    (tmp_path / "mine.yaml").write_text(spec[1])
    words = ["--learning_rate=0.01", "--layers=1", "--optimizer=sgd", "--momentum=0.5"]
    python = ROOT / ".venv-trial" / "bin" / "python"
    env = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(python), "train.py", *words], cwd=tmp_path, env=env, capture_output=True, check=True
    )
    (tmp_path / "train.log").write_bytes(done.stdout)
    log, file = str(tmp_path / "train.log"), str(tmp_path / "mine.yaml")
    assert main.main(["check-metrics", file, log]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{log} by collector stdout, format keras"
    assert said[2].split()[:4] == ["val_accuracy", "objective", "(last)", "5"]
