"""`python -m benchmarks.nights [--fast]`: the tables of README.md; --fast is a taste of them."""

from __future__ import annotations

import argparse

from benchmarks.nights.table import main

parser = argparse.ArgumentParser(prog="python -m benchmarks.nights", description=__doc__)
parser.add_argument("--fast", action="store_true", help="few seeds: seconds, not minutes")
main(fast=parser.parse_args().fast)
