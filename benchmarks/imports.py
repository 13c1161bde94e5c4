"""What parsing the DAG file costs beside a file with an empty DAG, in CPU seconds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 7
EMPTY = "from airflow.sdk import DAG\nwith DAG('empty'): pass\n"
HEAVY = ("alembic", "numpy", "optuna", "pandas", "scipy", "sklearn", "skopt")
MEASURE = """
import json, runpy, sys, time
began = time.process_time()
runpy.run_path(sys.argv[1])
print(json.dumps([time.process_time() - began, sorted(m.split('.')[0] for m in sys.modules)]))
"""


def main() -> None:
    """Print both and the median ratio; exit with an error if something heavy is imported."""
    with tempfile.TemporaryDirectory() as home:
        empty = Path(home) / "empty.py"
        empty.write_text(EMPTY)
        pairs = [
            (parse(ROOT / "dags" / "hpo_on_demand.py", home), parse(empty, home))
            for _ in range(ROUNDS + 1)
        ][1:]
    ours, none = (statistics.median(pair[i][0] for pair in pairs) for i in (0, 1))
    ratio = statistics.median(mine[0] / peer[0] for mine, peer in pairs)
    print(f"CPU to parse: ours {ours:.2f} s, empty DAG {none:.2f} s, ratio {ratio:.2f}")
    heavy = sorted((pairs[0][0][1] - pairs[0][1][1]) & {*HEAVY, "sqlalchemy"})
    print(f"heavy modules that only ours imports: {', '.join(heavy) or 'none'}")
    if heavy:
        raise SystemExit(1)


def parse(path: Path, home: str) -> tuple[float, set[str]]:
    """Give the CPU seconds that running a DAG file takes, and the packages it has imported."""
    env = os.environ | {"AIRFLOW_HOME": home, "PYTHONPATH": str(ROOT / "plugins")}
    env["AIRFLOW_CONFIG"] = str(ROOT / "config" / "airflow.cfg")
    command = [sys.executable, "-c", MEASURE, str(path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, cwd=home)
    seconds, modules = json.loads(done.stdout.splitlines()[-1])
    return seconds, set(modules)
