#!/usr/bin/env bash
# tensorflow-cpu 2.21.0 with keras 3.15.1, Python 3.11: a child that is forked of a process that has
# only imported them, and does nothing, costs nearly all of its CPU and memory by ending.
#
# An ordinary exit takes 2,838 modules apart, which writes to nearly every page that the child
# shared with its parent: tens of thousands of page faults and 0.2 to 0.3 s of CPU (two cores,
# beside other work), where os._exit has some hundred faults and milliseconds. Whoever forks workers
# of a warm process to save time and memory has most of that saving eaten at the end of each. Ending
# by os._exit is no way out by itself: buffers, exit handlers and TensorFlow's summary writers are
# then not closed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 keras==3.15.1
cat > "$folder/ends.py" <<'PYTHON'
import gc
import os
import statistics
import sys

import keras  # noqa: F401
import tensorflow  # noqa: F401

gc.collect()
gc.freeze()
print(f"{len(sys.modules):,} modules are imported", flush=True)


def cost(at_once):
    child = os.fork()
    if child:
        _, status, used = os.wait4(child, 0)
        assert status == 0
        return used.ru_utime + used.ru_stime, used.ru_minflt
    if at_once:
        os._exit(0)
    sys.exit()


def middle(at_once):
    return [statistics.median(one) for one in zip(*(cost(at_once) for _ in range(5)))]


at_once, ordinary = middle(True), middle(False)
for name, (cpu_s, faults) in (("os._exit", at_once), ("sys.exit", ordinary)):
    print(f"{name}: {cpu_s:.3f} s of CPU, {faults:,.0f} page faults", flush=True)
assert ordinary[1] > 10_000 > 10 * at_once[1], "ending writes to most of what was shared"
assert ordinary[0] > 5 * at_once[0], "and takes most of what such a child takes"
PYTHON
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/ends.py"
echo "as described"
