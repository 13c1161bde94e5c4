"""The REST API answers as its document says, whatever schemathesis makes of the document."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, checks, openapi

from hpo_airflow.api import PREFIX, acting, files, reading
from tests.integration.api_client import ApiClient, new_store
from tests.integration.test_api import SPEC, begun, done, wave

OPERATIONS = [route.name for one in (reading, files, acting) for route in one.router.routes]
#: That all which the document allows is accepted is not asked: a spec has rules of its own.
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
#: A trial that has ended.
THERE = {"run_id": 1, "number": 1}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ApiClient:
    """A run with a trial that has ended and one that runs; its DAG can be triggered."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    made = ApiClient(new_store(tmp_path))
    run = begun(made.store)
    assert wave(made.store, run, 1) == [1, 2]
    done(made.store, run, 1, 0.5)
    made.store.open_attempt(run.id, 2, lambda _: {})
    made.airflow.answers = {("POST", "/dags/hpo_local/dagRuns"): {"state": "queued"}}
    return made


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_one_of_the_document(api: ApiClient, name: str) -> None:
    document = openapi.from_asgi(f"{PREFIX}/openapi.json", api.take_over())
    operation = document.find_operation_by_id(name)
    there = {key: value for key, value in THERE.items() if f"{{{key}}}" in operation.path}
    made = [operation.as_strategy(mode) for mode in GenerationMode]
    if there:
        made.append(operation.as_strategy(path_parameters=there))
    if name == "submit_run":
        made.append(operation.as_strategy(body=SPEC))

    @settings(max_examples=10, suppress_health_check=list(HealthCheck))
    @given(case=st.one_of(made))
    def answered(case: Case) -> None:
        case.call_and_validate(checks=CHECKS)

    answered()


@pytest.mark.parametrize("body", [b"\xff", b"9" * 5000, b"[" * 50_000])
def test_a_body_that_cannot_be_read_is_refused(api: ApiClient, body: bytes) -> None:
    answer = api.ask("POST", "/runs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("report", "text/html"),
        ("trials.csv", "text/csv"),
        ("trials/{number}/files/{name}", "application/octet-stream"),
    ],
)
def test_what_is_text_has_errors_that_are_json(api: ApiClient, path: str, kind: str) -> None:
    answers = api.get("/openapi.json")["paths"][f"/runs/{{run_id}}/{path}"]["get"]["responses"]
    kinds = {status: list(one["content"]) for status, one in answers.items()}
    assert kinds.pop("200") == [kind]
    assert set(map(tuple, kinds.values())) == {("application/json",)}
