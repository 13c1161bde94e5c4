"""The pins: each with hashes, all in a bill of materials; where two sets meet, they agree."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "requirements"
LOCKS = sorted([*FOLDER.glob("*.txt"), *ROOT.glob("benchmarks/*/requirements/*.txt")])


def pins(name: str) -> set[str]:
    lines = (FOLDER / name).read_text().splitlines()
    return {line.removesuffix(" \\") for line in lines if not line.startswith(" ")}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_pin_has_hashes_and_no_file_an_address(lock: Path) -> None:
    text = lock.read_text()
    for entry in text.replace(" \\\n", "\n").rstrip("\n").split("\n"):
        assert re.match(r"[a-zA-Z0-9._-]+==[^ ]+( ; .+)?$|    --hash=sha256:[0-9a-f]{64}$", entry)
    for entry in re.split(r"\n(?=\S)", text):
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text


def test_whatever_installs_pins_checks_their_hashes() -> None:
    for file in [ROOT / "Makefile", *ROOT.glob("docker/*/Dockerfile")]:
        text = re.sub(r"\\\n\s*", "", file.read_text())
        for line in text.splitlines():
            if re.search(r"(--requirement|-r)[ =]\S*(requirements|\.txt|\$)", line):
                assert "--require-hashes" in line, f"{file}: {line}"


def test_pins_without_hashes_are_not_installed(tmp_path: Path) -> None:
    (tmp_path / "x-1.0-py3-none-any.whl").touch()
    (tmp_path / "pins.txt").write_text("./x-1.0-py3-none-any.whl\n")
    command = [sys.executable, FOLDER / "install.py", "pins.txt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Hashes are required" in done.stderr, "what pip says is shown"


def test_a_bill_of_materials_names_every_pinned_package(tmp_path: Path) -> None:
    command = [sys.executable, FOLDER / "sbom.py"]
    for folder in (tmp_path / "one", tmp_path / "two"):
        subprocess.run([*command, folder], check=True, capture_output=True)
    for lock in FOLDER.glob("*.txt"):
        written = (tmp_path / "one" / f"{lock.stem}.cdx.json").read_text()
        assert written == (tmp_path / "two" / f"{lock.stem}.cdx.json").read_text()
        found = json.loads(written)
        assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
        named = {f"{one['name']}=={one['version']}" for one in found["components"]}
        assert named == {pin.partition(" ;")[0] for pin in pins(lock.name)}
        assert len({one["bom-ref"] for one in found["components"]}) == len(found["components"])
        hashes = [one["content"] for part in found["components"] for one in part["hashes"]]
        assert len(hashes) == lock.read_text().count("--hash=sha256:")
        assert all(one["purl"].startswith("pkg:pypi/") for one in found["components"])


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
