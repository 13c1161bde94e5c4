#!/usr/bin/env bash
# NePS 0.17.0 (neural-pipeline-search), Python 3.11: Hyperband refuses to begin where the largest
# fidelity is just the power of eta at which a logarithm is rounded the wrong way.
#
# The number of rungs is floor(log(most) / log(eta)) + 1. That quotient is 4.999… for 243 by 3 and
# 2.999… for 1000 by 10, so a rung is missing, while the last bracket, whose quotient is exactly 1,
# still counts on it: the first `ask` raises. One step less or more, and all is well. Of the powers up
# to the sixth of 2, 3, 4, 5 and 10 it is these three, and no other.
# Seen on 2026-12-02: 243 by 3, 1000 by 10 and 1000000 by 10: "All rungs must have a capacity set
# greater than 1"; 242 and 244 by 3, 999 and 1001 by 10, and the 22 other powers begin.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet neural-pipeline-search==0.17.0 torch==2.13.0
cat > "$folder/ask.py" <<'PYTHON'
import logging
import math

import neps

logging.disable(logging.WARNING)


def begins(most, eta):
    """Say whether Hyperband from 1 to `most` gives a first configuration."""

    class Space(neps.PipelineSpace):
        x = neps.Float(lower=0.0, upper=1.0)
        epochs = neps.IntegerFidelity(lower=1, upper=most)

    try:
        neps.AskAndTell(neps.algorithms.hyperband(Space(), eta=eta)).ask()
    except ValueError as error:
        assert "capacity set greater than 1" in str(error), error
        return False
    return True


powers = [(eta**power, eta, power) for eta in (2, 3, 4, 5, 10) for power in range(2, 7)]
refused = {(most, eta) for most, eta, _ in powers if not begins(most, eta)}
below = {(most, eta) for most, eta, power in powers if math.log(most) / math.log(eta) < power}
print("refused:", sorted(refused))
assert refused == below == {(243, 3), (1000, 10), (1000000, 10)}, (refused, below)
assert all(begins(most, eta) for most, eta in ((242, 3), (244, 3), (999, 10), (1001, 10)))
PYTHON
"$folder/venv/bin/python" "$folder/ask.py"
echo "as described"
