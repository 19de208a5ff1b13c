"""Addresses of downloads: what is requested, and what may be shown of them."""

from __future__ import annotations

import base64
import dataclasses
import re
import urllib.parse

from transferkit._utils.hashing import fingerprint
from transferkit._utils.text import printable
from transferkit.errors import DownloadError

_SCHEMES = ("https", "http", "file")
# Characters with a meaning in a path and a query, and the percent sign of what is encoded already.
_SAFE = "%/:@!$&'()*+,;=~?[]"
_USER = re.compile(r"//[^/?#]*@")
_STRAY_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_MAX_NAME_BYTES = 120


@dataclasses.dataclass(frozen=True)
class Address:
    """A URL, taken apart.

    Attributes:
        url: to request: without user, password and fragment, and encoded.
        authorization: the header for user and password, or None.
        public: for messages and files; see `public_url`.
        key: identifies the URL without its user and password.
        file_name: the last part of the path, safe on every file system.
        secrets: user, password and the values of the query.
    """

    url: str
    authorization: str | None
    public: str
    key: str
    file_name: str
    secrets: tuple[str, ...]

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take a URL apart.

        Raises:
            DownloadError: when it is not valid.
        """
        if not isinstance(url, str):
            raise TypeError(f"`url` must be a str. Received: {type(url).__name__}.")
        url = url.strip()
        try:
            parts = urllib.parse.urlsplit(url)
            host = _encoded_host(parts)
            path, query = _quoted(parts.path), _quoted(parts.query)
        except ValueError as error:
            # Without a valid host, it is not known which part is a password.
            received = f"one that is not valid ({type(error).__name__})"
            raise DownloadError(
                f"`url` must have a valid host and port. Received: {received}. Encode special characters in a user or "
                "password, such as / as %2F."
            ) from None
        if parts.scheme not in _SCHEMES:
            raise DownloadError(
                f"`url` must begin with {', '.join(_SCHEMES)}. Received: {public_url(url)!r}. Check the URL."
            )
        return cls(
            urllib.parse.urlunsplit((parts.scheme, host, path, query, "")),
            _authorization(parts),
            public_url(url),
            url_key(url),
            _file_name(parts.path) or url_key(url)[:16],
            _secrets(parts),
        )

    def without_secrets(self, text: object) -> str:
        """Return a text from elsewhere, such as the reason of a server, in a form that may be shown."""
        shown = str(text)
        for secret in self.secrets:
            shown = shown.replace(secret, "...")
        return printable(shown)


def public_url(url: str) -> str:
    """Return a URL for messages: without user, password and fragment, and without the values of the query.

    >>> public_url("https://anna:secret@example.org/x.zip?id=7&key=abc")
    'https://example.org/x.zip?id=...&key=...'
    """
    address, mark, query = _USER.sub("//", url).partition("#")[0].partition("?")
    names = [f"{part.partition('=')[0]}=..." if "=" in part else "..." for part in query.split("&")]
    return printable(address + (mark and mark + "&".join(names)))


def url_key(url: str) -> str:
    """Return 32 hexadecimal digits that identify a URL without its user, password and fragment."""
    return fingerprint(_USER.sub("//", url).partition("#")[0])


def _encoded_host(parts: urllib.parse.SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2]
    # Raises a ValueError for a port that is not a number, as in a password with a slash.
    port = "" if parts.port is None else f":{parts.port}"
    return host if host.isascii() else (parts.hostname or "").encode("idna").decode("ascii") + port


def _authorization(parts: urllib.parse.SplitResult) -> str | None:
    if parts.username is None:
        return None
    login = [urllib.parse.unquote(part or "") for part in (parts.username, parts.password)]
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


def _secrets(parts: urllib.parse.SplitResult) -> tuple[str, ...]:
    """Return user, password and values of the query in every spelling, the longest first."""
    login = [parts.username or "", parts.password or ""]
    values = [value for _, value in urllib.parse.parse_qsl(parts.query)]
    found = [*login, *map(urllib.parse.unquote, login), *values, *re.split("[&;=]", parts.query)]
    return tuple(sorted({secret for secret in found if len(secret) > 3}, key=len, reverse=True))


def _quoted(text: str) -> str:
    return urllib.parse.quote(_STRAY_PERCENT.sub("%25", text), safe=_SAFE)


def _file_name(path: str) -> str:
    name = urllib.parse.unquote(path.rsplit("/", 1)[-1])
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name).lstrip(".")
    if len(safe.encode()) > _MAX_NAME_BYTES:
        # The end has the extension.
        safe = fingerprint(safe)[:16] + safe.encode()[-_MAX_NAME_BYTES // 2 :].decode(errors="ignore")
    return safe
