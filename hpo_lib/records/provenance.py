"""Where a run comes from, as it is kept with the run: reader and writer of the stored form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_STORE, _FILE, _WAY, _ASKED, _CONFIG = "store", "file", "way", "asked", "config"
_FACTS = {_STORE, _FILE, _WAY, _ASKED, _CONFIG}


@dataclass(frozen=True, slots=True)
class Provenance:
    """The store that a run is kept in, the scheduled file that it runs, and versions by package.

    `way` is how its DAG run came to be: `manual`, `scheduled` and so on. `asked` is the digest of
    the spec as it was submitted, `config` that of the installation's file. All of these are empty
    where nobody has said; `file` is None for a run of a conf.
    """

    store: str = ""
    file: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    way: str = ""
    asked: str = ""
    config: str = ""

    def dump(self) -> dict[str, str]:
        """Give the stored form: a flat mapping of the versions, with the file and the store."""
        plain = dict(self.versions)
        if self.file is not None:
            plain[_FILE] = self.file
        said = {_STORE: self.store, _WAY: self.way, _ASKED: self.asked, _CONFIG: self.config}
        return plain | {name: value for name, value in said.items() if value}

    @classmethod
    def read(cls, plain: Mapping[str, str]) -> Provenance:
        """Read the stored form."""
        versions = {name: said for name, said in plain.items() if name not in _FACTS}
        way, asked, config = (plain.get(name, "") for name in (_WAY, _ASKED, _CONFIG))
        return cls(plain.get(_STORE, ""), plain.get(_FILE), versions, way, asked, config)
