"""`hpo init-airflow`: the DAG files in a folder of an Airflow of one's own."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_lib.cli import main
from hpo_lib.cli.umask import umasked

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["hpo_housekeeping.py", "hpo_on_demand.py", "hpo_scheduled.py"]


def init(folder: Path) -> int:
    return main.main(["init-airflow", "--dags", str(folder)])


def test_the_dag_files_are_written_for_everybody_to_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "dags" / "hpo"
    with umasked(0o077):
        assert init(folder) == 0
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    for name in NAMES:
        assert (folder / name).read_text() == (ROOT / "dags" / name).read_text()
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o644
    assert {stat.S_IMODE(one.stat().st_mode) for one in (folder, folder.parent)} == {0o755}
    assert capsys.readouterr().out.splitlines() == [f"wrote {folder / name}" for name in NAMES]


def test_a_file_is_two_lines_below_what_it_is() -> None:
    for name in NAMES:
        text = (ROOT / "dags" / name).read_text()
        code = [line for line in text.splitlines() if line and not line.startswith('"""')]
        assert len(code) == 2, name


def test_what_is_there_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path) == 0
    changed = tmp_path / "hpo_scheduled.py"
    changed.write_text("# mine\n")
    capsys.readouterr()
    assert init(tmp_path) == 0
    assert changed.read_text() == "# mine\n"
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / NAMES[0]} is there",
        f"{tmp_path / NAMES[1]} is there",
        f"left {changed} as it is, which is not what comes along: delete it and call this again",
    ]


def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert init(tmp_path / "file" / "dags") == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'file' / 'dags'}: cannot be made: ")
