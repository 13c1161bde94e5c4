#!/usr/bin/env bash
# wandb 0.31.0, Python 3.11: a training that has already happened cannot be written to an offline
# folder as it was. Of its two times, a logged `_timestamp` is kept and a logged `_runtime` is not.
#
# Whoever brings finished trainings to W&B logs rows with the times at which they were made. The row's
# `_timestamp` stays; its `_runtime` becomes the seconds since `init`, and the run's start is the time
# of `init` whatever `x_start_time` says. So the two axes of one curve contradict each other, and the
# whole run seems to have taken a second.
# Seen on 2026-12-02: rows of 501 to 503 seconds after 2023-11-14 have `_timestamp` 1700000501 to
# 1700000503 and `_runtime` 1.09; the run's start is that of the day of writing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet wandb==0.31.0
cat > "$folder/imported.py" <<'PYTHON'
import struct
import sys
import zlib
from pathlib import Path

import wandb
from wandb.proto.wandb_internal_pb2 import Record


def records(path):
    """Read the records of a .wandb file: blocks of 32 KiB, as in LevelDB's log."""
    content, at, parts = path.read_bytes(), 7, []
    while at < len(content):
        if 32_768 - at % 32_768 < 7:
            at += 32_768 - at % 32_768
        checksum, length, kind = struct.unpack_from("<IHB", content, at)
        part = content[at + 7 : at + 7 + length]
        assert zlib.crc32(part, zlib.crc32(bytes([kind]))) == checksum
        parts.append(part)
        at += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


day = 1_700_000_000.0
settings = wandb.Settings(mode="offline", silent=True, x_start_time=day)
run = wandb.init(project="p", dir=sys.argv[1], settings=settings)
for step in range(1, 4):
    run.log({"loss": 1 / step, "_timestamp": day + 500 + step, "_runtime": 500.0 + step}, step=step)
run.finish()

(path,) = Path(sys.argv[1]).glob("wandb/offline-run-*/*.wandb")
began, rows = 0.0, []
for record in records(path):
    if record.HasField("run"):
        began = record.run.start_time.seconds
    if record.HasField("history"):
        items = record.history.item
        row = {one.key or ".".join(one.nested_key): float(one.value_json) for one in items}
        rows.append(row)
print("asked to begin at", day, "begins at", began)
for row in rows:
    print({name: row[name] for name in sorted(row)})
times = [row["_timestamp"] for row in rows]
assert times == [day + 501, day + 502, day + 503], times
assert all(row["_runtime"] < 100 for row in rows), rows
assert began > day + 86_400, began
PYTHON
export HOME="$folder" WANDB_ERROR_REPORTING=false
"$folder/venv/bin/python" "$folder/imported.py" "$folder"
echo "as described"
