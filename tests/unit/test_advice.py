"""What messages and docs tell people to type, to name and to read: it is there, and it is right."""

from __future__ import annotations

import argparse
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo_lib.backends.condition import _RULE as CONDITION
from hpo_lib.backends.condition import Condition
from hpo_lib.cli.main import parser
from hpo_lib.spec import load
from hpo_lib.spec.placeholders import FACTS
from hpo_lib.spec.yaml_file import from_yaml
from hpo_lib.validation import told

ROOT = Path(__file__).parents[2]
#: A command in code, or what follows "example:" in a command's help.
_COMMAND = re.compile(
    r"`(?:\$ )?hpo ([^`\n]+)`|^ *(?:\$ )?hpo ([a-z].*)|example: hpo ([^\"]+)", re.M
)
_MAKE = re.compile(r"`make ([a-z][a-z-]*)|^ *#? *make ([a-z][a-z-]*)\b", re.M)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_VARIABLE = re.compile(r"\bHPO_[A-Z][A-Z_]+[A-Z]\b")
_YAML = re.compile(r"```yaml\n(.*?)```", re.S)


def docs() -> list[Path]:
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")]
    return sorted(path for path in found if path.name != "CHANGELOG.md")


def texts() -> list[Path]:
    """All that may tell somebody something: docs, code, examples, DAGs, images."""
    folders = ("hpo_lib", "plugins", "dags", "docker", "config")
    suffixes = (".py", ".yaml", ".md", ".sh")
    code = (path for one in folders for path in (ROOT / one).rglob("*") if path.suffix in suffixes)
    return [*docs(), ROOT / "Makefile", *sorted(code)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _commands(of: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def wrong_command(line: str) -> str | None:
    """Say what of `hpo LINE` the command does not have; None if it has all of it."""
    words = shlex.split(line.replace("…", " "), comments=True)
    known = parser()
    if words[:1] == ["--airflow"]:
        words = words[2:]
    while words and (below := _commands(known)):
        if words[0] not in below:
            return f"no command {words[0]}"
        known = below[words.pop(0)]
    actions = [one for one in known._actions if not one.option_strings and one.choices]
    if words and actions and words[0] not in (actions[0].choices or ()):
        return f"no command {words[0]}"
    options = {option for action in known._actions for option in action.option_strings}
    asked = (word.partition("=")[0] for word in words if word.startswith("--"))
    return next((f"no option {one}" for one in asked if one not in options), None)


def _named(form: re.Pattern[str], path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for groups in form.findall(text):
        yield next(filter(None, [groups] if isinstance(groups, str) else groups))


@pytest.mark.parametrize("path", texts(), ids=name_of)
def test_every_command_that_is_named_exists(path: Path) -> None:
    wrong = {line: found for line in _named(_COMMAND, path) if (found := wrong_command(line))}
    assert wrong == {}


def test_a_wrong_command_would_be_seen() -> None:
    assert wrong_command("plan FILE --suggestions 10") is None
    assert wrong_command("store upgrade --url ADDRESS") is None
    assert wrong_command("plam FILE") == "no command plam"
    assert wrong_command("store upgrate") == "no command upgrate"
    assert wrong_command("rollback churn --version 3") == "no option --version"


@pytest.mark.parametrize("path", texts(), ids=name_of)
def test_every_target_of_make_that_is_named_exists(path: Path) -> None:
    makefiles = [ROOT / "Makefile", *ROOT.glob("benchmarks/**/Makefile")]
    text = "\n".join(one.read_text() for one in makefiles)
    known = set(re.findall(r"^([a-z][a-z-]*):", text, re.M))
    assert set(_named(_MAKE, path)) - known == set()


def _anchors(path: Path) -> set[str]:
    """Give the anchors of a page's headings, as code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", docs(), ids=name_of)
def test_every_link_leads_to_something(path: Path) -> None:
    for link in _named(_LINK, path):
        target, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        place = (path.parent / target).resolve() if target else path
        assert place.exists(), link
        assert not anchor or anchor in _anchors(place), link


def test_every_variable_that_docs_name_is_read_somewhere() -> None:
    places = ("hpo_lib", "plugins", "dags", "docker", "tests", "benchmarks")
    code = [path for one in places for path in (ROOT / one).rglob("*") if path.is_file()]
    code += [ROOT / "docker-compose.yaml", ROOT / "Makefile", *ROOT.glob("config/**/*")]
    files = [path for path in code if path.is_file() and path.suffix != ".md"]
    known = set(_VARIABLE.findall("\n".join(path.read_text(errors="replace") for path in files)))
    known |= {f"HPO_{fact.partition('.')[0].upper()}" for fact in FACTS}
    assert {name for path in docs() for name in _named(_VARIABLE, path)} - known == set()


def whole_specs() -> list[Any]:
    """Give every block of YAML in the docs that is a whole spec."""
    found = []
    for path in docs():
        for number, block in enumerate(_YAML.findall(path.read_text(encoding="utf-8"))):
            if re.search(r"^space:", block, re.M) and re.search(r"^objective:", block, re.M):
                found.append(pytest.param(block, id=f"{path.name}-{number}"))
    return found


@pytest.mark.parametrize("block", whole_specs())
def test_every_spec_in_the_docs_validates(block: str) -> None:
    from_yaml(block)


#: What a section of a block in the docs needs around it to be a spec.
AROUND: dict[str, Any] = {
    "name": "wine",
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "extra_metrics": ["loss", "test_accuracy", "val_mcc", "model_size_mb"],
    "space": {"lr": {"type": "float", "low": 0.1, "high": 1.0}},
    "trial": {"command": ["python", "train.py"]},
    "final": {"seeds": 3},
    "artifacts": {"uri": "s3://bucket/prefix"},
}
_ELSEWHERE = "scheduler: {name: "


def sections() -> list[Any]:
    """Give every block of YAML in the docs that is a part of a spec."""
    found = []
    for path in docs():
        for number, block in enumerate(_YAML.findall(path.read_text(encoding="utf-8"))):
            part = yaml.safe_load(block)
            keys = set(part) if isinstance(part, dict) else set()
            whole = {"space", "objective"} <= keys
            if keys and not whole and keys <= {*_TOP} and _ELSEWHERE not in block:
                found.append(pytest.param(part, id=f"{path.name}-{number}"))
    return found


_TOP = ("objective", "constraints", "space", "sampler", "limits", "trial", "metrics", "artifacts")
_TOP += ("warm_start", "reuse", "final", "deploy", "schedule")


@pytest.mark.parametrize("part", sections())
def test_every_part_of_a_spec_in_the_docs_fits_into_one(part: dict[str, Any]) -> None:
    load(AROUND | part)


#: Where a wrong value is refused with examples of right ones: the path, and a section with a value.
EXAMPLES: list[tuple[str, Callable[[Any], dict[str, Any]]]] = [
    ("trial.timeout", lambda one: {"trial": {"command": ["a"], "timeout": one}}),
    (
        "trial.resources.memory",
        lambda one: {"trial": {"command": ["a"], "resources": {"memory": one}}},
    ),
    ("trial.image", lambda one: {"trial": {"backend": "docker", "image": one}}),
    ("limits.max_duration", lambda one: {"limits": {"max_duration": one}}),
    ("constraints.0", lambda one: {"constraints": [one]}),
    ("artifacts.uri", lambda one: {"artifacts": {"uri": one}}),
    ("schedule.cron", lambda one: {"schedule": {"cron": one}}),
    ("schedule.timezone", lambda one: {"schedule": {"cron": "0 3 * * *", "timezone": one}}),
    ("schedule.assets.0.uri", lambda one: {"schedule": {"assets": [one]}}),
]


def _refused(path: str, part: dict[str, Any]) -> str:
    lines = told(lambda: load(AROUND | part))
    return next((line for line in lines if line.startswith(f"{path}: ")), "")


@pytest.mark.parametrize(("path", "section"), EXAMPLES, ids=[path for path, _ in EXAMPLES])
def test_every_example_in_a_refusal_passes_its_own_rule(
    path: str, section: Callable[[Any], dict[str, Any]]
) -> None:
    refusal = _refused(path, section("-"))
    found = re.search(r" such as (.+?)(?:, of letters|, got )", refusal)
    assert found, refusal
    for example in re.split(r", | or ", found[1].strip('"')):
        assert _refused(path, section(example)) == "", example


def test_the_example_of_a_condition_is_one() -> None:
    found = re.search(r" such as (.+?), ", CONDITION)
    assert found
    Condition.parse(found[1])


def test_extras_that_are_named_are_there() -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {"optuna", "gp", "hyperopt", "docker", "kubernetes", "amazon"}
    assert named <= known.keys()
    for path in texts():
        for extra in re.findall(r"pip install '\.\[([a-z0-9]+)\]'", path.read_text("utf-8")):
            assert extra in known, path
        assert "hpo-lib[" not in path.read_text("utf-8"), "no registry has it"
