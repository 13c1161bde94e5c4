"""Where a run comes from, as it is kept with the run: reader and writer of the stored form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_STORE, _FILE = "store", "file"


@dataclass(frozen=True, slots=True)
class Provenance:
    """The store that a run is kept in, the scheduled file that it runs, and versions by package.

    `store` is empty where nobody has said, `file` None for a run of a conf.
    """

    store: str = ""
    file: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    def dump(self) -> dict[str, str]:
        """Give the stored form: a flat mapping of the versions, with the file and the store."""
        plain = dict(self.versions)
        if self.file is not None:
            plain[_FILE] = self.file
        if self.store:
            plain[_STORE] = self.store
        return plain

    @classmethod
    def read(cls, plain: Mapping[str, str]) -> Provenance:
        """Read the stored form."""
        versions = {name: said for name, said in plain.items() if name not in (_STORE, _FILE)}
        return cls(plain.get(_STORE, ""), plain.get(_FILE), versions)
