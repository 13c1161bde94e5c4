"""Programs of trials, run by the real TensorFlow and Keras of the trial environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python() -> str:
    """Give the interpreter of the trial environment, or skip."""
    usual = ROOT / ".venv-trial" / "bin" / "python"
    given = os.environ.get("HPO_TRIAL_PYTHON")
    if not given and not usual.exists():
        pytest.skip("needs the trial environment: make setup")
    return given or str(usual)


def has(*modules: str) -> bool:
    """Say whether the trial environment has modules; none is imported."""
    asked = f"import importlib.util as u; raise SystemExit(not all(map(u.find_spec, {modules})))"
    return subprocess.run([python(), "-c", asked], check=False).returncode == 0


def run(program: str, output: Path, timeout_s: float = 300) -> str:
    """Run a program, which must end well, in its HPO_OUTPUT; give what it prints."""
    output.mkdir(parents=True, exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HPO_")}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [python(), "-c", program],
        cwd=output,
        env=clean | quiet | {"PYTHONPATH": str(ROOT), "HPO_OUTPUT": str(output)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout
