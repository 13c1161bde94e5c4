"""A zip with everything that is needed to use a model, and an alias that points to the champion's.

Below the root, on a disk or in an object store:

    <experiment>/v0003/<experiment>-v3.zip     model, parameters, metrics, sample, load.py, README
    <experiment>/champion.json                 {"version": 3, "package": …, "sha256": …}
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from hpo_lib.backends.trial_user import TrialUser
from hpo_lib.deployers import Check, Release, checking
from hpo_lib.deployers.readme import readme
from hpo_lib.deployers.sample import SAMPLE
from hpo_lib.deployers.shapes import beginning, described, files_of, mlserver_settings
from hpo_lib.errors import NotFound, SpecError, TransientError
from hpo_lib.files.artifacts import Offers, delete, open_folder, options_for, put, write
from hpo_lib.files.places import Place, files, opened, reaching, sha256, whole
from hpo_lib.spec import uris
from hpo_lib.validation import Strict, parse, rule, shown

if TYPE_CHECKING:
    from upath import UPath

ALIAS, LOADER, _MODEL = "champion.json", "load.py", "model/"
#: By it `mlserver start .` serves an unpacked package.
_SETTINGS = "model-settings.json"
_CHECK_S, _CHUNK = 300, 1 << 20
#: A bucket that S3 may have; new ones have small letters only, and no _.
_IN_S3 = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9](/|$)")
#: The time of every file in a zip, so that the same files make the same zip.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class PackageOptions(Strict):
    """`uri` is the root, below one that the installation offers; the default is its own."""

    uri: str | None = Field(default=None, max_length=500)

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str | None) -> str | None:
        if uri is not None and uri.startswith("s3:") and not _IN_S3.match(uris.checked(uri)):
            raise rule(
                "must name a bucket of 3 to 63 letters, digits and . _ -, with a letter or digit "
                f"at both ends, got {shown(uri)}"
            )
        return None if uri is None else uris.checked(uri)


@dataclass(frozen=True)
class PackageDeployer:
    """Packages of an experiment, whose name the spec has checked, below a root.

    `python` runs a package's own check, as `user` if one is given; None if nothing here can. A
    pickle is only loaded by it with `allow_pickle`.
    """

    Options: ClassVar[type[Strict]] = PackageOptions

    experiment: str
    root: Path | UPath
    python: Path | None = None
    user: TrialUser | None = None
    allow_pickle: bool = False

    @classmethod
    def at(
        cls,
        experiment: str,
        options: Mapping[str, Any],
        home: Path,
        offers: Offers,
        *,
        python: Path | None = None,
        user: TrialUser | None = None,
        allow_pickle: bool = False,
    ) -> PackageDeployer:
        """Build the deployer below the URI of `options`, which must be offered, or below `home`."""
        uri = parse(PackageOptions, options, at="deploy.options").uri
        root = open_folder(uri, options_for(uri, offers)) if uri else home / "models"
        return cls(experiment, root, python=python, user=user, allow_pickle=allow_pickle)

    @property
    def address(self) -> str:
        """The alias, however its folder is reached."""
        alias = self._alias
        return str(alias.resolve() if isinstance(alias, Path) else alias)

    def stage(self, release: Release) -> None:
        """Write the package; if the model's files are gone, keep the one that is there."""
        place = self._package(release.version)
        if not whole(release.files):
            if not self._is_there(release.version):
                raise TransientError(
                    f"{release.files}: no files of version {release.version}, and its package is "
                    f"not at {place}: bring one of both back, or have another version served"
                )
            return
        with tempfile.TemporaryDirectory(prefix="hpo-package-") as folder:
            made = Path(folder) / place.name
            pack(release, made)
            if sha256(made) != sha256(place):
                put(made, place)

    def try_out(self, release: Release) -> Check:
        """Unpack the package, compare its files with its manifest, and let it check itself."""
        with tempfile.TemporaryDirectory(prefix="hpo-package-") as folder:
            with opened(self._package(release.version)) as file:
                if file is None:
                    return Check("the package is not there")
                try:
                    with zipfile.ZipFile(file) as archive:
                        archive.extractall(folder)
                except zipfile.BadZipFile as error:
                    return Check(f"the package cannot be unpacked: {error}")
            return _intact(Path(folder)) or self._answers(Path(folder))

    def switch(self, version: int) -> None:
        """Point the alias to a version; NotFound if it is not staged."""
        place = self._package(version)
        digest = sha256(place)
        if digest is None:
            raise NotFound(f"version {version} of {self.experiment} is not staged at {place}")
        alias = {
            "experiment": self.experiment,
            "version": version,
            "package": f"{place.parent.name}/{place.name}",
            "sha256": digest,
        }
        with reaching(self._alias):
            write(self._alias, json.dumps(alias, indent=2).encode())

    def serving(self) -> int | None:
        """Read the alias; one whose package is gone serves nothing."""
        version = self._named
        return version if version is not None and self._is_there(version) else None

    def verify(self, version: int) -> Check:
        """Follow the alias as a user would, to a package that is whole."""
        alias = _alias(self._alias)
        if _version(alias) != version:
            return Check(f"{self._alias} names version {_version(alias)}, not {version}")
        digest = sha256(self._folder / str(alias["package"]))
        if digest is None:
            return Check(f"{self._alias} names {alias['package']}, which is not there")
        if digest != alias.get("sha256"):
            return Check(f"{alias['package']} is not what {self._alias} names")
        return Check()

    def drop(self, version: int) -> None:
        """Delete a version's package; SpecError if it is the one that the alias names."""
        if self._named == version:
            raise SpecError(
                f"version {version} of {self.experiment} is served: switch to another first"
            )
        delete(self._package(version).parent)

    def withdraw(self) -> None:
        """Delete the alias; the packages stay."""
        if _read(self._alias) is not None:
            with reaching(self._alias), suppress(FileNotFoundError):
                self._alias.unlink()

    @property
    def _named(self) -> int | None:
        """Give the version that the alias names."""
        return _version(_alias(self._alias))

    def _is_there(self, version: int) -> bool:
        place = self._package(version)
        return place.name in [one.name for one in files(place.parent)]

    @property
    def _folder(self) -> Path | UPath:
        return self.root / self.experiment

    @property
    def _alias(self) -> Path | UPath:
        return self._folder / ALIAS

    def _package(self, version: int) -> Path | UPath:
        return self._folder / f"v{version:04d}" / f"{self.experiment}-v{version}.zip"

    def _answers(self, folder: Path) -> Check:
        """Let the package answer its own sample, where something here can load it."""
        if self.python is None or not (folder / SAMPLE).exists():
            return Check()
        words = [str(self.python), LOADER, "--check", *(["--trust"] if self.allow_pickle else [])]
        if self.user is not None:
            self.user.lend(folder)
            words = self.user.words(words, loading(self.python, folder))
        try:
            done = checking.run(words, folder, _CHECK_S, loading(self.python, folder))
        except (OSError, subprocess.TimeoutExpired) as error:
            return Check(f"the package could not check itself: {error}")
        said = (done.stderr or done.stdout).strip().splitlines()
        return Check() if done.returncode == 0 else Check(said[-1] if said else "no answer")


def pack(release: Release, target: Path) -> None:
    """Write the zip of a release, a chunk at a time: the same bytes for the same files."""
    files, listing = files_of(release), {}
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in sorted(_contents(release, files).items()):
            listing[name] = _add(archive, name, content)
        digests = {name: listing[f"{_MODEL}{name}"] for name in files}
        model = described(release, files, digests)
        manifest = {**release.manifest, "version": release.version, "files": listing}
        _add(archive, "manifest.json", _text(manifest | {"model": model}))


def _add(archive: zipfile.ZipFile, name: str, content: Place | bytes) -> str:
    """Add a file to an archive and give its checksum; TransientError if it cannot be read."""
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    digest = hashlib.sha256()
    with archive.open(info, "w", force_zip64=True) as added:
        for chunk in _chunks(content):
            digest.update(chunk)
            added.write(chunk)
    return digest.hexdigest()


def _chunks(content: Place | bytes) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with opened(content) as file:
        if file is None:
            raise TransientError(f"{content}: cannot be read, so it cannot be packed")
        while chunk := file.read(_CHUNK):
            yield chunk


def _contents(release: Release, files: Mapping[str, Place]) -> dict[str, Place | bytes]:
    """Give what is in a package, by name: files of the model, and what is written for it."""
    found: dict[str, Place | bytes] = {f"{_MODEL}{name}": place for name, place in files.items()}
    if SAMPLE in files:
        found[SAMPLE] = files[SAMPLE]
    if settings := mlserver_settings(release, files):
        found[_SETTINGS] = _text(settings)
    said = readme(release, files, lambda name: beginning(files[name]))
    return found | {
        "parameters.json": _text(release.manifest.get("params", {})),
        "metrics.json": _text(release.manifest.get("metrics", {})),
        LOADER: (resources("hpo_lib.deployers") / "loader.py").read_bytes(),
        "README.md": said.encode(),
    }


def _intact(folder: Path) -> Check:
    """Compare an unpacked package with its manifest."""
    listing = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    if not any(name.startswith(_MODEL) for name in listing):
        return Check("the package holds no model")
    for name, digest in listing.items():
        if sha256(folder / name) != digest:
            return Check(f"{name} is not what the manifest names")
    return Check()


def _text(value: Any) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True, default=str).encode()


def _read(place: Place) -> bytes | None:
    with opened(place) as file:
        return None if file is None else file.read()


def _alias(place: Place) -> Mapping[str, Any]:
    content = _read(place)
    return json.loads(content) if content else {}


def _version(alias: Mapping[str, Any]) -> int | None:
    found = alias.get("version")
    return found if isinstance(found, int) else None


def loading(python: Path, folder: Path) -> dict[str, str]:
    """Give the environment in which an unpacked package may be loaded: a model can run code."""
    return {"PATH": str(python.parent), "HOME": str(folder), "TMPDIR": str(folder)}


def interpreter(path: str) -> Path | None:
    """Find a Python on a search path, but not that of the environment that runs this.

    Folders are compared: environments made by one Python have links to the same program.
    """
    own = Path(sys.executable).parent.resolve()
    for folder in path.split(":"):
        found = Path(folder) / "python"
        if folder and found.exists() and found.parent.resolve() != own:
            return found
    return None
