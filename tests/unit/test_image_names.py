"""Images that are not ours are named in one place, where they get their digests."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIST = ROOT / "docker" / "images.txt"
DIGEST = "sha256:" + "5" * 64
PINNED = re.compile(r"[\w./:-]+@sha256:[0-9a-f]{64}")
#: What we ship that names an image without its digest, and why.
EXCEPTIONS = {
    r"hpo-(trial|serve|airflow|airflow-local|s3)(:latest)?": "made on the operator's own engine",
    r"registry\.example\.org/.+": "stands for an image of the reader's",
    r"\$\{BASE\}|scratch": "a name within a Dockerfile; Docker's empty one",
    r"(apache/airflow|debian|postgres|python|redis):[\w.-]+": (
        "the tags of docker/images.txt: `make lock-images` adds digests where there is a registry"
    ),
}


def shipped() -> set[tuple[str, str]]:
    """Give every image that a file of ours names, with the file."""
    found = set()
    for path in ROOT.glob("docker/**/Dockerfile"):
        text = path.read_text()
        stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE))
        named = re.findall(r"^(?:ARG BASE=|FROM )(\S+)", text, re.MULTILINE)
        found |= {(str(path.relative_to(ROOT)), one) for one in named if one not in stages}
    for path in [ROOT / "docker-compose.yaml", *ROOT.glob("config/**/*.yaml")]:
        named = re.findall(r"^\s*(?:- )?image: *(\S+)", path.read_text(), re.MULTILINE)
        plain = {re.sub(r"^\$\{\w+:-(.+)\}$", r"\1", one) for one in named}
        found |= {(str(path.relative_to(ROOT)), one) for one in plain}
    return found | {(LIST.name, image) for image in listed().values()}


def listed() -> dict[str, str]:
    return dict(line.split("=", 1) for line in LIST.read_text().splitlines())


def test_whatever_has_no_digest_is_an_exception_with_a_reason() -> None:
    assert len(shipped()) > 10
    for file, image in sorted(shipped()):
        known = PINNED.fullmatch(image) or any(re.fullmatch(one, image) for one in EXCEPTIONS)
        assert known, f"{file}: {image} is named without its digest"


def test_others_images_are_those_of_the_list() -> None:
    tags = {image.partition("@")[0] for image in listed().values()}
    ours = re.compile("|".join(list(EXCEPTIONS)[:3]))
    assert {image.partition("@")[0] for _, image in shipped() if not ours.fullmatch(image)} == tags


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The script and its list, and a Docker that knows a digest of every image but one."""
    for name in ("lock_images.py", "images.txt"):
        shutil.copy(ROOT / "docker" / name, tmp_path)
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n'
        f'case "$*" in *inspect*$UNKNOWN*) echo "[]";;\n'
        f"*inspect*) echo '[\"some/where@{DIGEST}\"]';; esac\n"
    )
    docker.chmod(0o755)
    return tmp_path


def lock(folder: Path, unknown: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": f"{folder}:/usr/bin:/bin", "UNKNOWN": unknown}
    words = [sys.executable, folder / "lock_images.py"]
    return subprocess.run(words, env=env, capture_output=True, text=True)


def test_each_image_gets_the_digest_that_was_pulled_and_a_newer_one_later(folder: Path) -> None:
    for _ in range(2):
        assert lock(folder, "none").returncode == 0
        text = (folder / "images.txt").read_text()
        tags = {name: image.partition("@")[0] for name, image in listed().items()}
        assert text == "".join(f"{name}={tag}@{DIGEST}\n" for name, tag in tags.items())
    asked = (folder / "asked").read_text().splitlines()
    assert f"pull --quiet {tags['redis']}" in asked, "by its tag, which may have moved on"


def test_an_image_without_a_digest_changes_nothing(folder: Path) -> None:
    before = (folder / "images.txt").read_text()
    done = lock(folder, "redis")
    assert done.returncode == 1
    assert "gives no digest" in done.stderr
    assert (folder / "images.txt").read_text() == before
