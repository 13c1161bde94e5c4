#!/usr/bin/env bash
# NePS 0.17.0 (neural-pipeline-search), Python 3.11: its ASHA, asked by one worker, promotes nearly
# every trial, whatever eta is, so that it saves hardly a step.
#
# ASHA (Li et al. 2020) promotes who is among the best 1/eta of a rung. Here those that were promoted
# already are taken out of the rung first, and then the best 1/eta of the rest may go on: whenever
# eta are left at a rung, one of them goes, so that at most eta - 1 stay there for good. Of 120
# evaluations from 1 to 27 steps by 3, at the lowest rung, at the next ones, and at the end:
#   expected of the paper's rule, for 4 rungs: about 80, 27, 9, 3
#   seen on 2026-12-03: 33, 31, 29, 27; with eta 9 and rungs at 3 and 27: 64, 56
# On recorded curves it brought 11 of 19 configurations to their end, its Hyperband 7 of 79.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet neural-pipeline-search==0.17.0 torch==2.13.0
cat > "$folder/ask.py" <<'PYTHON'
import logging
import random
from collections import Counter

import neps
import numpy as np
import torch

logging.disable(logging.WARNING)


def evaluated(eta):
    """Count what is evaluated at each rung, where early values rank as late ones do."""

    class Space(neps.PipelineSpace):
        x = neps.Float(lower=0.0, upper=1.0)
        steps = neps.IntegerFidelity(lower=1, upper=27)

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    found, tuner = Counter(), neps.AskAndTell(neps.algorithms.asha(Space(), eta=eta))
    for _ in range(120):
        trial = tuner.ask()
        names = {name.split("__")[-1]: value for name, value in trial.config.items()}
        steps = next(value for name, value in names.items() if name.endswith("steps"))
        found[steps] += 1
        tuner.tell(trial, float(next(v for n, v in names.items() if n.endswith("x"))))
    return [found[steps] for steps in sorted(found)]


for eta in (3, 9):
    counts = evaluated(eta)
    print("eta", eta, counts)
    assert all(low - high < eta for low, high in zip(counts, counts[1:])), counts
PYTHON
"$folder/venv/bin/python" "$folder/ask.py"
echo "as described"
