"""URIs of object stores and folders, as a spec may name them."""

from __future__ import annotations

import re

from hpo_lib.validation import rule, shown

_SCHEME, _HOST = re.compile(r"[a-z][a-z0-9+.-]*"), re.compile(r"([\w.-]+@)?[\w.-]+(:\d+)?|")
_SEGMENT = re.compile(r"(?!\.{1,2}$)[\w.=+,~-]+")
_WITH_ACCOUNT = ("abfs", "abfss")
_NAMED = {True: "an absolute folder, file:///folder", False: "a bucket or host"}


def checked(text: str) -> str:
    """Give a place's URI without a slash at its end; refuse one that holds credentials."""
    scheme, colon, rest = text.partition("://")
    account, at, _ = rest.rpartition("@")
    if set("?#") & set(rest) or (at and (scheme not in _WITH_ACCOUNT or set(":/") & set(account))):
        # The value is not shown: it may hold a secret.
        raise rule("must hold no credentials and no query; they come from the installation")
    host, _, path = rest.rstrip("/").partition("/")
    segments = path.split("/") if path else []
    if (
        not (colon and _SCHEME.fullmatch(scheme) and (host or segments))
        or not _HOST.fullmatch(host)
        or not all(_SEGMENT.fullmatch(one) for one in segments)
    ):
        raise rule(
            "must be a URI such as s3://bucket/prefix or file:///folder, of letters, digits "
            f"and _ . = + , ~ -, without . and .., got {shown(text)}"
        )
    if (scheme == "file") == bool(host):
        raise rule(f"must name {_NAMED[scheme == 'file']}, got {shown(text)}")
    return text.rstrip("/")
