"""What a conf may not ask for: an attack a row, on every backend, deployer and place."""

from __future__ import annotations

import pytest

from hpo_lib.backends import IMAGES, is_allowed_image

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("patterns", "image", "allowed"),
    [
        (IMAGES, "hpo-trial:latest", True),
        (IMAGES, f"hpo-trial@{DIGEST}", True),
        (IMAGES, f"hpo-trial:1@{DIGEST}", True),
        (IMAGES, "evil/miner", False),
        (IMAGES, "evil/hpo-trial:1", False),
        # A registry that is called as an image is.
        (IMAGES, "hpo-trial:5000/evil/miner:1", False),
        (IMAGES, "hpo-trial.evil.org/miner:1", False),
        ((), "hpo-trial:latest", False),
        (("*",), "evil/miner", True),
        (("team/*",), "team/model:3", True),
        (("team/*",), f"team/sub/model@{DIGEST}", True),
        (("team/*",), "evil/team/model:3", False),
        (("r.io:5000/team/*",), "r.io:5000/team/model:3", True),
        (("r.io:5000/team/*",), "r.io/team/model:3", False),
        (("*@sha256:*",), f"r.io/team/model@{DIGEST}", True),
        (("*@sha256:*",), f"r.io:5000/team/model:3@{DIGEST}", True),
        (("*@sha256:*",), "r.io/team/model:3", False),
        ((f"team/model@{DIGEST}",), f"team/model:3@{DIGEST}", True),
        ((f"team/model@{DIGEST}",), "team/model:3", False),
        (("*:1",), "r.io/team/model:1", True),
        (("*:1",), "r.io/team/model:12", False),
    ],
)
def test_an_image_is_one_of_a_pattern(patterns: list[str], image: str, allowed: bool) -> None:
    assert is_allowed_image(image, patterns) is allowed
