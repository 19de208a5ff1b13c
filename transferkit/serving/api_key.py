"""API keys: where they are read from, and whether a request has one."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from transferkit.serving.errors import RequestError

VARIABLE = "TRANSFERKIT_API_KEY"
_MAX_BYTES = 64 << 10


def read_api_keys(file: str | os.PathLike[str] | None) -> tuple[str, ...]:
    """Return the keys of a file, one per line, and that of $TRANSFERKIT_API_KEY.

    A key is no option of the command line, which other users of a machine can read.

    Raises:
        ValueError: when the file cannot be read, or has no key.
    """
    found = os.environ.get(VARIABLE, "").strip()
    keys = [found] if found else []
    if file is not None:
        try:
            with Path(file).open(encoding="utf-8") as opened:
                lines = [line.strip() for line in opened.read(_MAX_BYTES).splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(_message(f"{os.fspath(file)!r}, which cannot be read ({type(error).__name__})")) from None
        if not any(lines):
            raise ValueError(_message(f"{os.fspath(file)!r}, which has none"))
        keys += [line for line in lines if line]
    return tuple(dict.fromkeys(keys))


def check_api_key(headers: Mapping[str, str], keys: Sequence[str]) -> None:
    """Raise a RequestError unless a request has one of the keys; all are open where there are no keys."""
    if not keys:
        return
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    # All are compared, in a time that does not depend on where they differ. Headers are decoded as Latin-1.
    matches = [hmac.compare_digest(given.encode("latin-1", "replace"), key.encode()) for key in keys]
    if not any(matches):
        raise RequestError(
            401,
            "invalid_api_key",
            f"A request must have an API key. Received: {'another one' if given else 'none'}. Send the header "
            "Authorization: Bearer KEY.",
            {"WWW-Authenticate": "Bearer"},
        )


def _message(received: str) -> str:
    return f"The API key file must have one key per line. Received: {received}. Check the path and the contents."
