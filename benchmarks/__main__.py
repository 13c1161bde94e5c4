"""`python -m benchmarks [NAME …]`: all of them without a name; --help lists the names."""

from __future__ import annotations

import argparse

from benchmarks import (
    decisions,
    fork,
    idle,
    imports,
    long,
    neighbours,
    overhead,
    pods,
    reports,
    slots,
    warmstart,
    wine,
    writers,
)
from benchmarks.nights import table as nights

BENCHMARKS = {
    "decisions": decisions.main,
    "fork": fork.main,
    "idle": idle.main,
    "imports": imports.main,
    "long": long.main,
    "neighbours": neighbours.main,
    "nights": nights.main,
    "overhead": overhead.main,
    "pods": pods.main,
    "reports": reports.main,
    "slots": slots.main,
    "warmstart": warmstart.main,
    "wine": wine.main,
    "writers": writers.main,
}

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
for name in parser.parse_args().names or BENCHMARKS:
    print(f"== {name}")
    BENCHMARKS[name]()
