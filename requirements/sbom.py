"""Writes a software bill of materials, in CycloneDX's JSON, for every file of pins beside it.

    python3 requirements/sbom.py FOLDER

It names each pinned package of Python with the hashes of its files; the same pins always give the
same bytes. What else an image holds, its base above all, is for a scanner of images to find. Needs
the standard library only.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pins import entries, pin

HERE = Path(__file__).parent
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(pins: str) -> Iterator[dict[str, Any]]:
    """Give the packages that a file pins."""
    for entry in entries(pins):
        hashes, match = _HASH.findall(entry), pin(entry)
        if match is None:
            sys.exit(f"not a pin: {entry}")
        purl = f"pkg:pypi/{match['name'].lower()}@{match['version']}"
        found: dict[str, Any] = {"type": "library", "bom-ref": purl, "purl": purl}
        found |= {"name": match["name"], "version": match["version"]}
        found["hashes"] = [{"alg": "SHA-256", "content": one} for one in hashes]
        if match["marker"]:
            found["properties"] = [{"name": "hpo:marker", "value": match["marker"]}]
        yield found


def bill(name: str, pins: str, version: str) -> dict[str, Any]:
    """Give the bill of what is installed from a file of pins."""
    content = uuid.uuid5(uuid.NAMESPACE_OID, f"{name}\n{pins}")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": content.urn,
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "hpo-lib",
                "name": f"hpo-lib ({name})",
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": list(components(pins)),
    }


def main(words: list[str]) -> int:
    """Write a bill for each file of pins."""
    if len(words) != 1:
        sys.exit(f"usage: sbom.py FOLDER, got {' '.join(words)}")
    folder = Path(words[0])
    folder.mkdir(parents=True, exist_ok=True)
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for file in sorted(HERE.glob("*.txt")):
        made = bill(file.stem, file.read_text(encoding="utf-8"), project["version"])
        target = folder / f"{file.stem}.cdx.json"
        target.write_text(f"{json.dumps(made, indent=1)}\n", encoding="utf-8")
        sys.stdout.write(f"{target}: {len(made['components'])} packages\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
