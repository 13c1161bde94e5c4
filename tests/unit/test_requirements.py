"""The pins in `requirements/`: where two sets meet, they agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "requirements"


def pins(name: str) -> set[str]:
    return set((FOLDER / name).read_text().splitlines())


def test_the_gpu_build_has_the_same_pins_and_cuda() -> None:
    cpu, gpu = pins("trial.txt"), pins("trial-gpu.txt")
    only_cpu, only_gpu = cpu - gpu, gpu - cpu
    (tensorflow,) = (pin.removeprefix("tensorflow-cpu") for pin in only_cpu)
    cuda = {pin for pin in only_gpu if pin.startswith("nvidia-")}
    assert only_gpu - cuda == {f"tensorflow{tensorflow}"}
    assert any(pin.startswith("nvidia-cudnn-") for pin in cuda)


@pytest.mark.parametrize("other", ["trial.txt", "dev.txt"])
def test_the_server_is_tested_with_the_versions_that_it_has(other: str) -> None:
    """It is installed beside a trial's packages, and tested beside Airflow's."""
    there = {pin.partition("==")[0]: pin for pin in pins(other)}
    wanted = {pin.partition("==")[0]: pin for pin in pins("serve.txt")}
    shared = there.keys() & wanted.keys()
    assert shared
    plain = {name: re.split(" ;", pin)[0] for name, pin in wanted.items() if name in shared}
    assert plain == {name: re.split(" ;", there[name])[0] for name in shared}


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.txt")))
def test_every_line_is_an_exact_pin_and_names_no_index(name: str) -> None:
    form = re.compile(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[\w.!+]+( ; .+)?")
    assert {pin for pin in pins(name) if not form.fullmatch(pin)} == set()
