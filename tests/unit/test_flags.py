"""Booleans on command lines, read by real parsers, and choices that programs are told alike."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import factories
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.cli.main import main
from hpo_lib.core.trial import Trial
from hpo_lib.errors import SpecError
from hpo_lib.spec import Spec, load
from hpo_lib.spec.booleans import notes
from hpo_lib.spec.command_line import preview
from hpo_lib.spec.flags import Spelling, alike, argument
from hpo_lib.spec.yaml_file import from_yaml, to_yaml

_ARGPARSE = """\
import argparse, json
parser = argparse.ArgumentParser()
parser.add_argument("--use_bn", {})
parser.add_argument("--lr", type=float)
print(json.dumps(parser.parse_args().use_bn))
"""
_CLICK = """\
import click, json
@click.command()
@click.option({})
@click.option("--lr", type=float)
def main(use_bn, lr):
    print(json.dumps(use_bn))
main()
"""
PROGRAMS = {
    "argparse: type=bool": _ARGPARSE.format("type=bool"),
    "argparse: type=int": _ARGPARSE.format("type=int"),
    "argparse: store_true": _ARGPARSE.format('action="store_true"'),
    "argparse: an optional value": _ARGPARSE.format("type=json.loads, nargs='?', const=True"),
    "argparse: BooleanOptionalAction": _ARGPARSE.format("action=argparse.BooleanOptionalAction"),
    "argparse: words": _ARGPARSE.format('type=lambda text: {"true": True, "false": False}[text]'),
    "click: type=bool": _CLICK.format('"--use_bn", type=bool'),
    "click: is_flag": _CLICK.format('"--use_bn", is_flag=True'),
    "click: a pair": _CLICK.format('"--use_bn/--no-use_bn"'),
}
#: The spellings that tell a program what is meant.
RIGHT = {
    "argparse: type=bool": {"true_empty"},
    "argparse: type=int": {"0_1"},
    "argparse: store_true": {"presence"},
    "argparse: an optional value": {"true_false", "0_1"},
    "argparse: BooleanOptionalAction": {"no_prefix"},
    "argparse: words": {"true_false"},
    "click: type=bool": {"true_false", "0_1", "true_empty"},
    "click: is_flag": {"presence"},
    "click: a pair": {"presence", "no_prefix"},
}


def conf(choices: list[Any], flags: Any = None, **trial: Any) -> dict[str, Any]:
    return {
        "name": "flags",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {
            "use_bn": {"type": "categorical", "choices": choices},
            "lr": {"type": "float", "low": 0.1, "high": 1.0},
        },
        "trial": {"command": ["train"], **({} if flags is None else {"flags": flags}), **trial},
    }


def line(spec: Spec, **params: Any) -> list[str]:
    made = preview(spec, Trial(1, params))
    return [*made.command, *made.args]


def refused(plain: dict[str, Any]) -> str:
    with pytest.raises(SpecError) as caught:
        load(plain)
    return str(caught.value)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_parser_has_a_spelling_that_it_reads_right(program: str) -> None:
    right = set()
    for spelling in Spelling:
        command = [sys.executable, "-c", PROGRAMS[program]]
        spec = load(conf([True, False], str(spelling), command=command))
        ran = [
            subprocess.run(line(spec, use_bn=one, lr=0.5), capture_output=True, text=True)
            for one in (True, False)
        ]
        told = [json.loads(one.stdout) if one.returncode == 0 else None for one in ran]
        if told == [True, False]:
            right.add(str(spelling))
    assert right == RIGHT[program]


@pytest.mark.parametrize(
    ("flags", "said", "unsaid"),
    [
        (None, ["--use_bn=true"], ["--use_bn=false"]),
        ("true_false", ["--use_bn=true"], ["--use_bn=false"]),
        ("0_1", ["--use_bn=1"], ["--use_bn=0"]),
        ("true_empty", ["--use_bn=true"], ["--use_bn="]),
        ("presence", ["--use_bn"], []),
        ("no_prefix", ["--use_bn"], ["--no-use_bn"]),
        ({"use_bn": "presence"}, ["--use_bn"], []),
    ],
)
def test_flags_say_how_booleans_are_told(flags: Any, said: list[str], unsaid: list[str]) -> None:
    spec = load(conf([True, False], flags))
    assert line(spec, use_bn=True, lr=0.5) == ["train", *said, "--lr=0.5"]
    assert line(spec, use_bn=False, lr=0.5) == ["train", *unsaid, "--lr=0.5"]
    named = load(conf([True, False], flags, args=["--use_bn=${params.use_bn}", "x"]))
    assert line(named, use_bn=True, lr=0.5) == ["train", *said, "x"]
    assert line(named, use_bn=False, lr=0.5) == ["train", *unsaid, "x"]
    assert preview(spec, Trial(1, {"use_bn": True, "lr": 0.5})).env["HPO_PARAMS"] == (
        '{"use_bn": true, "lr": 0.5}'
    )
    assert from_yaml(to_yaml(spec)).dump() == spec.dump()


def test_fixed_booleans_are_told_in_the_same_way() -> None:
    spec = load(conf([1, 2], {"amp": "presence"}) | {"fixed": {"amp": True, "cache": False}})
    assert line(spec, use_bn=1, lr=0.5) == [
        *("train", "--amp", "--cache=false", "--use_bn=1", "--lr=0.5")
    ]


def test_final_training_may_have_other_flags() -> None:
    plain = conf([True, False], "0_1") | {"final": {"trial": {"flags": "presence"}}}
    assert line(load(plain).for_final, use_bn=True, lr=0.5) == ["train", "--use_bn", "--lr=0.5"]
    plain["final"]["trial"] |= {"flags": {"bn": "0_1"}, "args": ["${params.use_bn}"]}
    assert refused(plain).startswith("final.trial.flags: must name parameters that can be true")
    plain["final"]["trial"] = {"args": ["-x=${params.use_bn}!"], "flags": "presence"}
    assert refused(plain) == (
        "final.trial.args.0: must be --NAME=${params.use_bn} alone, as trial.flags tells it by "
        'presence, got "-x=${params.use_bn}!"'
    )


def test_options_have_the_words_of_command_lines_and_values_elsewhere() -> None:
    options = {
        "args": ["--bn=${params.use_bn}", "--lr", "${params.lr}"],
        "command": ["sh", "${params.use_bn}"],
        "enabled": "${params.use_bn}",
        "label": "bn-${params.use_bn}",
    }
    made = preview(
        load(conf([True, False], "0_1", options=options)), Trial(1, {"use_bn": True, "lr": 0.5})
    )
    assert made.options == {
        "args": ["--bn=1", "--lr", 0.5],
        "command": ["sh", "1"],
        "enabled": True,
        "label": "bn-1",
    }
    assert [
        one.partition(":")[0]
        for one in refused(conf([True, False], "presence", options=options)).splitlines()
    ] == ["trial.options.command.1", "trial.options.label"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            "store_true",
            "trial.flags: must be one of true_false, 0_1, true_empty, presence, no_prefix, or one "
            'for each parameter, got "store_true"',
        ),
        (
            {"use_bn": "yes"},
            "trial.flags: use_bn must be one of true_false, 0_1, true_empty, presence, no_prefix, "
            'got "yes"',
        ),
        (
            {"use_nb": "presence", "lr": "0_1"},
            "trial.flags: must name parameters that can be true or false, got use_nb, did you mean "
            "'use_bn'?; known: use_bn\n"
            "trial.flags: must name parameters that can be true or false, got lr; known: use_bn",
        ),
    ],
)
def test_wrong_flags_are_refused(flags: Any, message: str) -> None:
    assert refused(conf([True, False], flags)) == message


@pytest.mark.parametrize(
    ("choices", "flags", "pair"),
    [
        ([1, "1"], None, '1 and "1", both "1"'),
        ([True, "true"], None, 'true and "true", both "true"'),
        (["x", 0.1, 3, "0.1"], None, '0.1 and "0.1", both "0.1"'),
        ([1e16, "1e+16"], None, '1e+16 and "1e+16", both "1e+16"'),
        ([True, 1], "0_1", 'true and 1, both "1"'),
        ([False, "0"], {"use_bn": "0_1"}, 'false and "0", both "0"'),
        ([False, ""], "true_empty", 'false and "", both ""'),
        ([[64, 32], "[64, 32]"], None, '[64, 32] and "[64, 32]", both "[64, 32]"'),
    ],
)
def test_choices_that_programs_are_told_alike_are_refused(
    choices: list[Any], flags: Any, pair: str
) -> None:
    assert refused(conf(choices, flags)) == (
        f"space.use_bn.choices: choices must differ in what programs are told, got {pair}"
    )


def test_lists_and_mappings_are_told_as_json() -> None:
    spec = load(conf([[64, 32], {"kind": "wide"}]))
    assert from_yaml(to_yaml(spec)) == spec
    for choice in ([64, 32], {"kind": "wide"}):
        made = preview(spec, Trial(1, {"use_bn": choice}))
        told = next(word for word in made.command if word.startswith("--use_bn="))
        assert json.loads(told.partition("=")[2]) == choice
        assert json.loads(made.env["HPO_PARAMS"])["use_bn"] == choice


def test_a_stored_spec_whose_choices_are_told_alike_is_still_read() -> None:
    plain = conf([1, "1"])
    assert factories.run(plain, check=False).spec.space["use_bn"].size == 2
    with pytest.raises(SpecError, match="choices must differ in what programs are told"):
        load(plain)


@pytest.mark.parametrize("choices", [[1, 1.0], [1000.0, 1000], ["a", 2, "b", 2.0]])
def test_equal_choices_are_refused_as_a_pair(choices: list[Any]) -> None:
    twice = [one for one in choices if choices.count(one) == 2]
    assert refused(conf(choices)) == (
        f"space.use_bn.choices: choices must differ, got {json.dumps(twice)}"
    )


@given(
    st.lists(
        st.booleans() | st.integers(0, 2) | st.sampled_from(["0", "1", "true", "false", "", 1.5]),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(Spelling),
)
def test_two_choices_never_make_one_command_line(choices: list[Any], spelling: Spelling) -> None:
    lines = [argument("--x", choice, spelling) for choice in choices]
    assert (len(set(lines)) == len(lines)) is (not list(alike(choices, spelling)))
    try:
        spec = load(conf(choices, str(spelling)) if True in choices else conf(choices))
    except SpecError:
        return
    told = {tuple(line(spec, use_bn=choice, lr=0.5)) for choice in choices}
    assert len(told) == len(choices) == spec.space["use_bn"].size


NOTE = (
    "use_bn: told as true or false, such as --use_bn=false, which argparse's type=bool takes for "
    "true, and store_true refuses; trial.flags has other ways"
)

OLD = "text in YAML 1.2; write"


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        (conf([True, False]), [NOTE]),
        (conf([True, False], args=["--bn", "${params.use_bn}"]), [NOTE]),
        (conf([True, False], "true_false"), []),
        (conf([True, False], {"use_bn": "true_false"}), []),
        (conf([True, False], args=["${params.lr}"]), []),
        (conf(["de", "fr"]), []),
        (conf(["de", "no"]), [f"use_bn: no is {OLD} false if that is meant"]),
        (conf(["yes", "no"]), [f"use_bn: yes, no are {OLD} true, false if that is meant"]),
        (conf(["on", "off", "auto"]), [f"use_bn: on, off are {OLD} true, false if that is meant"]),
        (conf(["1_000", "2_000"]), [f"use_bn: 1_000, 2_000 are {OLD} 1000, 2000 if that is meant"]),
        (conf(["1:30", "2:00"]), [f"use_bn: 1:30, 2:00 are {OLD} 90, 120 if that is meant"]),
        (conf(["0b11", 4]), [f"use_bn: 0b11 is {OLD} 3 if that is meant"]),
        (conf(["1_0.5", "adam"]), [f"use_bn: 1_0.5 is {OLD} 10.5 if that is meant"]),
        # What is text in both, or was put into quotes so that it is.
        (conf(["1", "true", "2024-01-01", "y", "", "a: b", "0b", "_", "1-3"]), []),
        (
            conf([1, 2]) | {"fixed": {"amp": "Off", "size": "small"}},
            [f"amp: Off is {OLD} false if that is meant"],
        ),
    ],
)
def test_a_boolean_without_a_spelling_and_a_word_that_was_one_are_noted(
    plain: dict[str, Any], said: list[str]
) -> None:
    assert notes(load(plain)) == said


def test_the_note_stands_where_the_choice_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "flags.yaml"
    (tmp_path / "train").touch(mode=0o700)
    monkeypatch.setenv("HPO_TRIAL_PATH", str(tmp_path))
    monkeypatch.setenv("HPO_CONFIG", str(tmp_path / "none.yaml"))
    path.write_text(to_yaml(load(conf([True, False]))))
    assert main(["validate", str(path)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{path}: ok")
    assert second == f"{path}: note: {NOTE}"
    assert main(["plan", str(path)]) == 0
    assert capsys.readouterr().out.endswith(f"\nNote: {NOTE}.\n")
    path.write_text(to_yaml(load(conf([True, False], "presence"))))
    assert main(["validate", str(path)]) == 0
    assert "note:" not in capsys.readouterr().out


def test_a_spec_without_flags_has_kept_its_digest() -> None:
    plain = conf([True, False])
    assert "flags" not in load(plain).dump()["trial"]
    assert load(plain).digest == "85ea0f65e81b8712739163b879db68d3"
