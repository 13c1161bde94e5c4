#!/usr/bin/env bash
# apache-airflow 3.3.2 (cadwyn 7.0.0), Python 3.11: the API server answers nobody while it makes its
# API for tasks, which it does not before the first task asks.
#
# `/execution` is a Cadwyn application that builds a router for each version of the API at its first
# request, in the event loop: seconds of CPU (3.9 seen on two cores, 16 beside other work) in which
# the UI, the REST API and heartbeats wait, in an API server that has been healthy for its load balancer
# all the time. Each restart has that again, so the first tasks after one pay for it together, and on
# SQLite whoever was between a write and its commit keeps all others from the database for as long.
# One GET of /execution/health before the server is put to use takes it out of their way.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet apache-airflow==3.3.2 cadwyn==7.0.0
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export AIRFLOW_HOME=$folder AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__API__PORT=$port AIRFLOW__API__HOST=127.0.0.1
"$folder/venv/bin/airflow" db migrate > "$folder/log" 2>&1
"$folder/venv/bin/airflow" api-server >> "$folder/log" 2>&1 &
cat > "$folder/ask.py" <<'PYTHON'
import sys
import threading
import time
import urllib.request


def seconds(path):
    began = time.monotonic()
    with urllib.request.urlopen(sys.argv[1] + path, timeout=300) as answer:
        assert answer.status == 200
    return time.monotonic() - began


for _ in range(600):
    try:
        seconds("/api/v2/monitor/health")
        break
    except OSError:
        time.sleep(0.2)
alone = min(seconds("/api/v2/version") for _ in range(5))
first = []
asking = threading.Thread(target=lambda: first.append(seconds("/execution/health")))
asking.start()
time.sleep(0.2)
beside = seconds("/api/v2/version")
asking.join()
second = min(seconds("/execution/health") for _ in range(5))
print(f"/api/v2/version alone {alone:.3f} s, beside the first question of a task {beside:.2f} s")
print(f"/execution/health at first {first[0]:.2f} s, then {second:.3f} s")
assert first[0] > 50 * second, "it is made at the first question"
assert beside > first[0] / 2 > 10 * alone, "everybody waits for that"
PYTHON
"$folder/venv/bin/python" "$folder/ask.py" "http://127.0.0.1:$port"
echo "as described"
