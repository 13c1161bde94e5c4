"""Writes into `images.txt`, beside it, the digest of every image from elsewhere: name:tag@sha256:…

    python3 docker/lock_images.py

`make images` builds on what stands there, and a new `.env` of the stack names it: the same bytes
until this is done again, whatever becomes of a tag. Asks Docker, which pulls; needs the standard
library only.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

FILE = Path(__file__).parent / "images.txt"
_DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})$")


def locked(line: str, docker: Callable[..., str]) -> str:
    """Give a line, such as `redis=redis:7`, with the digest that its tag has now."""
    name, _, image = line.partition("=")
    tagged = image.partition("@")[0]
    docker("pull", "--quiet", tagged)
    known = json.loads(docker("image", "inspect", "--format={{json .RepoDigests}}", tagged))
    found = [match[1] for one in known if (match := _DIGEST.search(one))]
    if not found:
        sys.exit(f"{tagged}: its registry gives no digest")
    return f"{name}={tagged}@{found[0]}"


def _docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603, S607
    if done.returncode:
        sys.exit(f"docker {' '.join(words)} failed")
    return done.stdout


def main(words: Sequence[str]) -> int:
    """Lock every image; a failure changes nothing."""
    if words:
        sys.exit(f"usage: lock_images.py, got {' '.join(words)}")
    lines = [locked(line, _docker) for line in FILE.read_text(encoding="utf-8").splitlines()]
    FILE.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
