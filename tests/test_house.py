"""What a stranger finds: the map in CONTRIBUTING.md, the glossary, and places that docs name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: Per question of the map, the words that the first docstring line of its file has.
MAP: dict[str, dict[str, list[str]]] = {
    "Where is it decided that a trial is retried?": {
        "hpo_lib/core/retry_policy.py": ["trial", "retried"],
    },
    "Where do I add a backend?": {
        "hpo_lib/backends/__init__.py": ["backends", "one row each"],
        "hpo_lib/registry.py": ["backend", "a new one is one row here"],
    },
    "Where is the SQL that answers what a slot is to run?": {
        "hpo_lib/store/batches.py": ["slot", "is to run"],
    },
    "What decides how many trials a wave has?": {
        "hpo_lib/runs/lifecycle.py": ["how many trials", "wave"],
    },
    "Where does a scheduler like ASHA go?": {
        "hpo_lib/schedulers/__init__.py": ["schedulers", "ASHA", "a file and a row"],
    },
    "Where does a page in Airflow's UI go?": {
        "plugins/hpo_airflow/plugin.py": ["pages", "Airflow's UI"],
    },
    "Where is a limit on cost checked?": {
        "hpo_lib/search/stopping.py": ["limits", "stop"],
    },
    "Where does an importer of another tool's spec go?": {
        "hpo_lib/spec/__init__.py": ["spec", "other tools' to come"],
    },
    "Where is a conf's right to a namespace checked?": {
        "hpo_lib/backends/pod_rights.py": ["conf", "namespaces"],
    },
    "What says which trial is best?": {
        "hpo_lib/core/objective.py": ["which trial is best"],
    },
    "What starts a nightly run?": {
        "dags/hpo_scheduled.py": ["schedule"],
        "plugins/hpo_airflow/dags.py": ["DAG files"],
    },
    "What does `hpo run` do?": {
        "hpo_lib/cli/airflow.py": ["hpo", "run a spec on an airflow"],
    },
    "How does a preempted pod become a cause?": {
        "hpo_lib/backends/pod_status.py": ["pod", "preempted"],
        "hpo_lib/core/ending.py": ["cause"],
    },
    "What makes the command line of a trial?": {
        "hpo_lib/spec/command_line.py": ["trial", "command line"],
    },
}
_ENTRY = re.compile(r"^\* \*\*(.+?)\*\*: ", re.MULTILINE)
#: Files and modules as docs name them.
_FILE = re.compile(r"\b(?:hpo_lib|plugins|dags|tests|benchmarks|docker|config)/[\w./-]*\w\.\w+")
_MODULE = re.compile(r"\b(?:hpo_lib|hpo_airflow)(?:\.[a-z_]\w*)+")
#: Commands that docs show, and what only comes to be when the project is used.
_NOT_THERE = {"config/experiments/mine.yaml"}


def docs() -> list[Path]:
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")]
    return sorted(path for path in found if path.name != "CHANGELOG.md")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def rows() -> dict[str, str]:
    """Give the rows of the map: what is in the second cell, by question."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (.+\?) \| (.+) \|$", text, re.MULTILINE)
    return dict(cells)


def test_the_map_has_every_question() -> None:
    assert list(rows()) == list(MAP)


@pytest.mark.parametrize("question", MAP)
def test_the_map_names_files_whose_first_line_answers(question: str) -> None:
    for name, words in MAP[question].items():
        assert f"({name})" in rows()[question]
        line = first_line(ROOT / name)
        assert [word for word in words if word.lower() not in line.lower()] == [], line


def test_the_glossary_has_each_word_once_in_alphabetical_order() -> None:
    words = _ENTRY.findall((ROOT / "docs/glossary.md").read_text(encoding="utf-8"))
    assert words == sorted(set(words))


def test_the_glossary_explains_the_words_that_it_leans_on() -> None:
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    known = set(_ENTRY.findall(text))
    _, _, entries = text.partition("\n* ")
    leaned = (" ".join(one.split()) for one in re.findall(r"(?<!\*)\*(\w[^*]*)\*(?!\*)", entries))
    forms = {form for word in known for form in (word, f"{word}s", f"{word}'s")}
    assert set(leaned) - forms == set()


def missing(text: str) -> Iterator[str]:
    """Name what a text takes for a file or a module of ours, and is none."""
    for name in sorted(set(_FILE.findall(text)) - _NOT_THERE):
        if not (ROOT / name).exists():
            yield name
    for name in sorted(set(_MODULE.findall(text))):
        if not _is_there(name):
            yield name


def _is_there(dotted: str) -> bool:
    """Say whether a dotted name is a module, or something in one."""
    folder = ROOT / "plugins" if dotted.startswith("hpo_airflow") else ROOT
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        path = folder.joinpath(*parts[:length])
        if length == len(parts) and path.is_dir():
            return True
        file = path.with_suffix(".py") if not path.is_dir() else path / "__init__.py"
        if file.is_file():
            rest = parts[length:]
            return not rest or re.search(rf"\b{rest[0]}\b", file.read_text("utf-8")) is not None
    return False


@pytest.mark.parametrize("path", docs(), ids=name_of)
def test_docs_name_places_that_exist(path: Path) -> None:
    assert list(missing(path.read_text(encoding="utf-8"))) == []


def test_a_wrong_place_would_be_seen() -> None:
    text = "see hpo_lib/runs.py, hpo_lib/store/store.py, `hpo_lib.failures` and `hpo_lib.spec.load`"
    assert list(missing(text)) == ["hpo_lib/runs.py", "hpo_lib.failures"]
