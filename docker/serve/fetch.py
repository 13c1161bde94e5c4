"""Bring a model from MODEL_URI to MODEL_DIR, before the server starts; as an init container.

`saved_model/1` gets the name that TensorFlow Serving wants, that of MODEL_VERSION. Credentials are
where fsspec's package for that kind of store looks for them.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def fetch(uri: str, folder: Path, version: str) -> int:
    """Copy all files, again if it was done before; gives their number."""
    from fsspec.core import url_to_fs

    fs, root = url_to_fs(uri)
    root = root.rstrip("/")
    names = [name for name in fs.find(root) if not name.endswith("/")]
    for name in names:
        target = folder / served_as(name.removeprefix(root).lstrip("/"), version)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        fs.get_file(name, str(part))
        part.replace(target)
    return len(names)


def served_as(path: str, version: str) -> str:
    """Give a file's path below MODEL_DIR."""
    inner = path.removeprefix("saved_model/1/")
    return path if inner == path else f"{version}/{inner}"


def main() -> int:
    """Fetch the model; if that fails, print one line and give exit code 1."""
    uri, folder = os.environ["MODEL_URI"], Path(os.environ["MODEL_DIR"])
    try:
        shutil.rmtree(folder / os.environ["MODEL_VERSION"], ignore_errors=True)
        count = fetch(uri, folder, os.environ["MODEL_VERSION"])
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(f"cannot fetch the model from {uri}: {said}\n")
        return 1
    if not count:
        sys.stderr.write(f"cannot fetch the model: {uri} holds no files\n")
        return 1
    sys.stderr.write(f"fetched {count} files from {uri}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
