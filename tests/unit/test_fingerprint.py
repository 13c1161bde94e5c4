"""The fingerprint of a run: what makes two results the same, and what a spec may look at for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_lib.core.trial import Origin, Trial
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.files import artifacts
from hpo_lib.installation import Inputs
from hpo_lib.runs import fingerprint
from hpo_lib.spec import Spec, load
from hpo_lib.spec.command_line import seed

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
CONF: dict[str, Any] = {
    "name": "nightly",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "trial": {"command": ["sh", "train.sh"]},
    "reuse": {"data": ["rows.csv"], "code": ["src"]},
}
POD: dict[str, Any] = {"backend": "kubernetes", "image": f"r.example.org/t@{DIGEST}"}
#: Where a store lives in the memory of the tests.
HERE = f"memory://{uuid4().hex}"


def spec(**changes: Any) -> Spec:
    """Make a spec from CONF; `a__b` changes `b` in its part `a`."""
    plain: dict[str, Any] = dict(CONF)
    for name, value in changes.items():
        part, _, inner = name.partition("__")
        plain[part] = {**plain.get(part, {}), inner: value} if inner else value
    return load({name: value for name, value in plain.items() if value is not None})


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write(tmp_path / "work", {"src/train.sh": "echo loss=1", "src/lib/a.sh": "true"})
    write(tmp_path / "data", {"rows.csv": "1,2\n"})
    write(tmp_path / "outside", {"secret": "s"})
    return tmp_path


@pytest.fixture
def inputs(home: Path) -> Inputs:
    return Inputs([home / "work", home / "data"])


def taken(made: Spec, inputs: Inputs) -> str:
    found, why = fingerprint.take(made, inputs)
    assert why is None
    assert found is not None
    return found


#: What a result depends on, each in two ways.
PARTS: dict[str, tuple[Any, Any]] = {
    "trial__command": (["sh", "train.sh"], ["sh", "train.sh", "-x"]),
    "trial__args": (None, ["${params.x}"]),
    "trial__env": ({}, {"MODE": "fast"}),
    "trial__resources": ({}, {"cpu": 2}),
    "fixed": ({"epochs": 1}, {"epochs": 1.0}),
    "sampler": ({"seed": 0}, {"seed": 1}),
    "objective": (
        {"metric": "loss", "direction": "minimize"},
        {"metric": "loss", "direction": "minimize", "reduce": "best"},
    ),
    "metrics": ({"collector": "stdout"}, {"collector": "jsonl"}),
    "extra_metrics": ([], ["size"]),
    "constraints": ([], ["gap <= 1"]),
}
#: What no result depends on.
REST: dict[str, tuple[Any, Any]] = {
    "description": ("", "other words"),
    "space": (CONF["space"], {"x": {"type": "float", "low": 0.0, "high": 2.0}}),
    "initial_points": ([], [{"x": 0.5}]),
    "limits": ({}, {"max_trials": 3, "parallel_trials": 2, "max_duration": "1h"}),
    "trial__timeout": ("1h", "2h"),
    "final": (None, {"seeds": 2}),
    "warm_start": (None, {}),
    "artifacts": (None, {"uri": "file:///srv"}),
}
#: What is in the files.
FILES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "data/rows.csv": ({"data/rows.csv": "1,2\n"}, {"data/rows.csv": "1,3\n"}),
    "code": ({"work/src/train.sh": "echo"}, {"work/src/train.sh": "echo "}),
    "a name": ({"work/src/b/one.sh": "x"}, {"work/src/b/two.sh": "x"}),
    "the split": ({"work/src/c": "ab", "work/src/d": ""}, {"work/src/c": "a", "work/src/d": "b"}),
}
sides = st.integers(0, 1)


@pytest.mark.parametrize("part", PARTS)
def test_it_differs_when_any_part_of_the_program_does(part: str, inputs: Inputs) -> None:
    one, other = (taken(spec(**{part: value}), inputs) for value in PARTS[part])
    assert one != other


@pytest.mark.parametrize("part", REST)
def test_it_stays_when_something_else_differs(part: str, inputs: Inputs) -> None:
    one, other = (taken(spec(**{part: value}), inputs) for value in REST[part])
    assert one == other


@pytest.mark.parametrize("part", FILES)
def test_it_differs_when_any_file_does(part: str, home: Path, inputs: Inputs) -> None:
    found = []
    for files in FILES[part]:
        shutil.rmtree(home / "work/src/b", ignore_errors=True)
        write(home, files)
        found.append(taken(spec(), inputs))
    assert found[0] != found[1]
    assert taken(spec(), inputs) == found[1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    left=st.fixed_dictionaries(dict.fromkeys([*PARTS, *REST, *FILES], sides)),
    flips=st.sets(st.sampled_from([*PARTS, *REST, *FILES]), max_size=2),
)
def test_two_are_equal_exactly_if_all_that_matters_is(
    left: dict[str, int], flips: set[str], home: Path, inputs: Inputs
) -> None:
    right = {name: 1 - side if name in flips else side for name, side in left.items()}
    found = [_of_sides(each, home, inputs) for each in (left, right)]
    assert (found[0] == found[1]) == (flips <= set(REST))


def _of_sides(chosen: Mapping[str, int], home: Path, inputs: Inputs) -> str:
    shutil.rmtree(home / "work/src", ignore_errors=True)
    for name, sides in FILES.items():
        write(home, sides[chosen[name]])
    changes = {name: either[chosen[name]] for name, either in {**PARTS, **REST}.items()}
    return taken(spec(**changes), inputs)


def test_the_order_of_the_places_does_not_matter_and_their_part_does(
    home: Path, inputs: Inputs
) -> None:
    write(home, {"data/more.csv": "1"})
    found = [
        taken(spec(reuse={"data": data, "code": code}), inputs)
        for data, code in (
            (["rows.csv", "more.csv"], ["src"]),
            (["more.csv", "rows.csv"], ["src"]),
            (["rows.csv"], ["src", "more.csv"]),
            (["rows.csv"], ["src"]),
        )
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_what_is_hidden_or_compiled_is_passed_over(home: Path, inputs: Inputs) -> None:
    before = taken(spec(), inputs)
    write(home, {"work/src/.git/index": "1", "work/src/__pycache__/a.pyc": "2"})
    write(home, {"work/src/lib/.swp": "3"})
    assert taken(spec(), inputs) == before


def test_the_first_folder_that_has_a_name_is_meant(home: Path, inputs: Inputs) -> None:
    before = taken(spec(), inputs)
    write(home, {"work/rows.csv": "3,4\n"})
    assert taken(spec(), inputs) != before


def test_without_the_section_nothing_is_looked_at() -> None:
    assert fingerprint.take(spec(reuse=None), Inputs()) == (None, None)


@pytest.mark.parametrize("there", [["missing.csv"], ["src/missing"], ["empty"]])
def test_what_is_not_there_is_named(there: list[str], home: Path, inputs: Inputs) -> None:
    (home / "work/empty").mkdir()
    with pytest.raises(SpecError, match=rf"^reuse\.data\.0: must be a file.*got \"{there[0]}\"$"):
        fingerprint.take(spec(reuse__data=there), inputs)


@pytest.mark.parametrize(
    "place",
    [
        *("/etc/passwd", "../outside/secret", "a/../../outside", ".airflow/hpo.db", "./x", "."),
        *("src/.env", "a//b", "", "a\\b", "a\nb", "src\x00", "~/x/..", "file://x", "s3://b/../c"),
    ],
)
def test_a_spec_cannot_name_what_is_outside(place: str) -> None:
    for part in ("data", "code"):
        with pytest.raises(SpecError, match=rf"reuse\.{part}\.?0?.*: must "):
            spec(**{f"reuse__{part}": [place]})


@pytest.mark.parametrize("name", ["way", "way/secret", "src/way", "circle"])
def test_a_link_leads_nowhere(name: str, home: Path, inputs: Inputs) -> None:
    (home / "work/way").symlink_to(home / "outside")
    (home / "work/src/way").symlink_to(home / "outside/secret")
    (home / "work/circle").symlink_to(home / "work/circle")
    with pytest.raises(SpecError, match=r"reuse\.data\.0: must not lead elsewhere by a link"):
        fingerprint.take(spec(reuse__data=[name]), inputs)


def test_a_link_within_is_followed_by_its_name_and_never_passed_over(
    home: Path, inputs: Inputs
) -> None:
    (home / "data/tonight.csv").symlink_to(home / "data/rows.csv")
    tonight = spec(reuse__data=["tonight.csv"])
    before = taken(tonight, inputs)
    write(home, {"data/rows.csv": "5,6\n"})
    assert taken(tonight, inputs) != before
    (home / "work/src/lib/tonight").symlink_to(home / "work/src/train.sh")
    with pytest.raises(SpecError, match=r'code\.0: must hold no links, got "lib/tonight"'):
        fingerprint.take(spec(), inputs)


def test_what_cannot_be_read_is_not_taken_for_empty(
    home: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.open

    def refused(path: str, *how: Any, **where: Any) -> Any:
        if Path(path).name == "lib":
            raise PermissionError(13, "Permission denied", path)
        return look(path, *how, **where)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(TransientError, match="src/lib cannot be read: Permission denied"):
        fingerprint.take(spec(), inputs)


def test_too_many_files_are_refused(
    home: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_MAX_FILES", 1)
    with pytest.raises(SpecError, match=r'reuse\.code\.0: must hold at most 1 files, got "src"'):
        fingerprint.take(spec(), inputs)


class TestStores:
    @pytest.fixture(autouse=True)
    def objects(self) -> Iterator[None]:
        self.put("rows/a.csv", b"1")
        self.put("rows/b.csv", b"2")
        yield
        root = artifacts.open_folder(HERE, {})
        root.fs.rm(root.path, recursive=True)

    def put(self, name: str, content: bytes) -> None:
        artifacts.open_folder(HERE, {}).joinpath(name).write_bytes(content)

    def of(self, place: str, **offers: str) -> str:
        made = spec(trial=POD, reuse={"data": [place]})
        return taken(made, Inputs(offers=artifacts.offers(offers or {HERE: None}, lambda _: {})))

    def test_what_is_replaced_is_another(self) -> None:
        before = [self.of(f"{HERE}/rows"), self.of(f"{HERE}/rows/a.csv")]
        assert [self.of(f"{HERE}/rows"), self.of(f"{HERE}/rows/a.csv")] == before
        self.put("rows/b.csv", b"3")
        assert self.of(f"{HERE}/rows") != before[0]
        assert self.of(f"{HERE}/rows/a.csv") == before[1]

    def test_a_name_counts(self) -> None:
        before = self.of(f"{HERE}/rows")
        self.put("rows/c.csv", b"")
        assert self.of(f"{HERE}/rows") != before

    def test_what_the_store_says_nothing_of_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fingerprint, "_STAMPS", ())
        before = self.of(f"{HERE}/rows")
        self.put("rows/b.csv", b"2")
        assert self.of(f"{HERE}/rows") == before
        self.put("rows/b.csv", b"3")
        assert self.of(f"{HERE}/rows") != before

    def test_what_is_not_there_is_named(self) -> None:
        with pytest.raises(SpecError, match=r"reuse\.data\.0: .*/absent: cannot read there: no "):
            self.of(f"{HERE}/absent")

    def test_only_below_what_is_offered(self) -> None:
        for inputs in (Inputs(), Inputs(offers=artifacts.offers({f"{HERE}/ro": None}, dict))):
            made = spec(trial=POD, reuse={"data": [f"{HERE}/rows"]})
            with pytest.raises(SpecError, match=r"reuse\.data\.0: must lie below a place .*inputs"):
                fingerprint.take(made, inputs)

    def test_a_folder_that_is_offered_is_no_way_out(self, home: Path) -> None:
        (home / "data/way").symlink_to(home / "outside")
        offers = artifacts.offers({f"file://{home}/data": None}, lambda _: {})
        made = spec(reuse__data=[f"file://{home}/data/rows.csv"])
        inputs = Inputs([home / "work"], offers)
        before = taken(made, inputs)
        write(home, {"data/rows.csv": "7"})
        assert taken(made, inputs) != before
        with pytest.raises(SpecError, match="must not lead elsewhere by a link"):
            fingerprint.take(spec(reuse__data=[f"file://{home}/data/way"]), inputs)


class TestImages:
    """A program in an image is known by the image's digest only."""

    @pytest.mark.parametrize(
        ("trial", "why"),
        [
            ({"backend": "docker", "image": "t:1"}, "trial.image: must be named by its digest"),
            (
                {
                    **POD,
                    "options": {"pod_template": {"spec": {"initContainers": [{"image": "i"}]}}},
                },
                "trial.options.pod_template.spec.initContainers.0.image: must be named by its",
            ),
            (
                {"backend": "ecs", "options": {"task_definition": "train:3"}},
                "trial.options.task_definition: its image is not known by digest",
            ),
            (
                {"backend": "job", "options": {"resource": {"kind": "TrainJob"}}},
                "trial.options.resource: names no image",
            ),
        ],
    )
    def test_another_name_is_no_identity(self, trial: dict[str, Any], why: str) -> None:
        found, said = fingerprint.take(spec(trial=trial, reuse={"data": []}), Inputs())
        assert found is None
        assert str(said).startswith(f"no result is reused: {why}")

    @pytest.mark.parametrize(
        "trial",
        [
            POD,
            {**POD, "backend": "docker"},
            {"backend": "job", "options": {"resource": {"containers": [{"image": f"t@{DIGEST}"}]}}},
        ],
    )
    def test_a_digest_is_one(self, trial: dict[str, Any]) -> None:
        one = taken(spec(trial=trial, reuse={"data": []}), Inputs())
        other = trial | {"command": ["train"]}
        assert taken(spec(trial=other, reuse={"data": []}), Inputs()) != one

    def test_files_of_the_workers_are_none_of_its_own(self) -> None:
        with pytest.raises(SpecError, match=r"reuse\.code\.0: must be a URI with backend kubern"):
            spec(trial=POD, reuse={"data": [], "code": ["src"]})

    def test_a_local_program_has_to_be_named(self) -> None:
        with pytest.raises(SpecError, match=r"reuse\.code: is required by backend local"):
            spec(reuse={"data": ["rows.csv"]})


def test_the_seed_of_a_configuration_is_its_own_under_any_number() -> None:
    first = Trial(1, {"x": 0.5})
    seeds = {seed(spec(), Trial(number, {"x": 0.5})) for number in (1, 7)}
    assert seeds == {seed(spec(), first)}
    assert seed(spec(), Trial(1, {"x": 0.25})) not in seeds
    assert seed(spec(sampler={"seed": 1}), first) not in seeds
    final = [Trial(n, {"x": 0.5}, origin=Origin.FINAL, repeat=n) for n in (1, 2)]
    assert [seed(spec(), one) for one in final] == [seed(spec(reuse=None), one) for one in final]
    assert seed(spec(reuse=None), Trial(7, {"x": 0.5})) == 7


def test_the_section_is_kept_and_its_absence_changes_no_digest() -> None:
    made = spec()
    assert load(made.dump()) == made
    assert "reuse" not in spec(reuse=None).dump()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"code": ["src"]}, "reuse.data: is required"),
        ({"data": ["a", "a/"], "code": ["b"]}, "reuse.data: must not name a place twice"),
        ({"data": "a", "code": ["b"]}, "reuse.data: must be a list"),
        ({"data": [], "code": ["b"], "image": "x"}, 'reuse: unknown key "image"'),
    ],
)
def test_a_wrong_section_is_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec(reuse=section)
    assert str(caught.value).startswith(message)
