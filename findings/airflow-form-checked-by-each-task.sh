#!/usr/bin/env bash
# apache-airflow 3.3.2 (jsonschema 4.26.0), Python 3.11: every task checks all params of its DAG by
# their JSON schemas, a mapped task at least twice, and each check begins with one of the schema itself.
#
# So a form with whole schemas, which people want when they trigger a run, is paid for by each task of
# the run. Here a form of 8 sections with 40 fields each makes a mapped task that does nothing check 36
# schemas by the metaschema (1.6 without: reading the file), and take five times the CPU: 0.75 s for
# 0.15, on two slow cores. The conf was checked when the run was triggered: a DAG file can leave params
# out where get_parsing_context().task_id is set, which is so in a task only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet apache-airflow==3.3.2 jsonschema==4.26.0
export AIRFLOW_HOME=$folder AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__CORE__DAGS_FOLDER=$folder/dags
mkdir "$folder/dags"
"$folder/venv/bin/airflow" db migrate > "$folder/log" 2>&1
cat > "$folder/dags/form.py" <<'PYTHON'
import time

from airflow.sdk import DAG, Param, task
from jsonschema import validators

FIELDS = {f"field_{n}": {"type": "integer", "minimum": 0, "title": f"Field {n}"} for n in range(40)}
SECTION = {"type": "object", "properties": FIELDS, "additionalProperties": False}
NAMES = [f"section_{n}" for n in range(8)]
COPIES = 10
seen = {"schemas": 0, "CPU": 0.0}


def dag_of(dag_id, params):
    with DAG(dag_id, schedule=None, params=params) as dag:

        @task
        def nothing(number: int) -> int:
            return number

        nothing.expand(number=list(range(COPIES)))
    return dag


with_form = dag_of("with_form", {name: Param({"field_1": 1}, **SECTION) for name in NAMES})
without = dag_of("without", {})


def tested(dag):
    """Run a DAG in this process; give metaschema checks and CPU seconds a task."""
    before, began = seen["schemas"], time.process_time()
    assert dag.test().state == "success"
    return (seen["schemas"] - before) / COPIES, (time.process_time() - began) / COPIES


if __name__ == "__main__":
    one = validators.validator_for({})
    check = one.check_schema.__func__

    def counted(cls, schema, *args, **kwargs):
        seen["schemas"] += schema.get("properties") == FIELDS
        return check(cls, schema, *args, **kwargs)

    one.check_schema = classmethod(counted)
    tested(without)  # imports
    (none, plain), (checks, form) = tested(without), tested(with_form)
    print(f"without a form: {none:.1f} schemas checked and {plain:.3f} CPU-s a task")
    print(f"with a form:    {checks:.1f} schemas checked and {form:.3f} CPU-s a task")
    assert none < 2, "only who reads the file checks them"
    assert checks >= 2 * len(NAMES), "each mapped task checks each of them at least twice"
    assert form > 2 * plain, "the form is most of what a task costs"
PYTHON
"$folder/venv/bin/python" "$folder/dags/form.py" 2> "$folder/errors" | grep "a form" || { tail -20 "$folder/errors"; exit 1; }
echo "as described"
