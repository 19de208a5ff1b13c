"""URLs of downloads: what is requested, and that nothing secret is shown."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

import transferkit as tk
from transferkit.datasets.address import Address, public_url, url_key


@pytest.mark.parametrize(
    ("url", "requested"),
    [
        ("https://example.org/a.zip", "https://example.org/a.zip"),
        (" https://example.org/my photos.zip\n", "https://example.org/my%20photos.zip"),
        ("https://example.org/my%20photos.zip", "https://example.org/my%20photos.zip"),
        ("https://example.org/100%.zip", "https://example.org/100%25.zip"),
        ("https://example.org/été.zip?q=ü", "https://example.org/%C3%A9t%C3%A9.zip?q=%C3%BC"),
        ("https://bücher.example:8080/a.zip", "https://xn--bcher-kva.example:8080/a.zip"),
        ("https://anna:secret@example.org/a.zip#part", "https://example.org/a.zip"),
        ("http://[::1]:80/a.zip", "http://[::1]:80/a.zip"),
    ],
)
def test_address_url(url: str, requested: str) -> None:
    assert Address.parse(url).url == requested


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("https://example.org/a.zip", None),
        ("https://anna:s%2Fcret@example.org/a.zip", b"anna:s/cret"),
        ("https://anna@example.org/a.zip", b"anna:"),
        ("https://anna:p@ss:word@example.org/a.zip", b"anna:p@ss:word"),
        ("https://zoé:ü@example.org/a.zip", "zoé:ü".encode()),
    ],
)
def test_address_authorization(url: str, login: bytes | None) -> None:
    expected = None if login is None else "Basic " + base64.b64encode(login).decode()
    assert Address.parse(url).authorization == expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://anna:secret@example.org/a.zip", "https://example.org/a.zip"),
        ("https://an@na:sec@ret@example.org/a.zip", "https://example.org/a.zip"),
        ("https://example.org/a.zip?X-Signature=abc&id=7&flag", "https://example.org/a.zip?X-Signature=...&id=...&..."),
        ("https://example.org/a.zip#key=abc", "https://example.org/a.zip"),
        ("https://example.org/\x1b[2J.zip", r"https://example.org/\x1b[2J.zip"),
    ],
)
def test_public_url(url: str, shown: str) -> None:
    assert public_url(url) == shown == Address.parse(url).public


def test_without_secrets() -> None:
    address = Address.parse("https://anna:s%2Fcret@example.org/a.zip?sig=a%2Bbcd")
    assert (
        address.without_secrets("wrong: anna s/cret s%2Fcret a+bcd a%2Bbcd \x1b") == r"wrong: ... ... ... ... ... \x1b"
    )


def test_url_key_of_other_url_differs() -> None:
    key = url_key("https://example.org/a.zip?version=1")
    assert key == url_key("https://anna:secret@example.org/a.zip?version=1#part")
    assert key != url_key("https://example.org/a.zip?version=2") != url_key("http://example.org/a.zip?version=2")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/x/a.zip", "a.zip"),
        ("https://example.org/my%20photos%2Fnew.zip", "my_photos_new.zip"),
        ("https://example.org/..%2F..%2Fetc", "_.._etc"),
        ("https://example.org/%2E%2E", url_key("https://example.org/%2E%2E")[:16]),
        ("https://example.org/", url_key("https://example.org/")[:16]),
    ],
)
def test_address_file_name(url: str, name: str) -> None:
    assert Address.parse(url).file_name == name


def test_address_file_name_of_long_path_keeps_extension() -> None:
    names = {Address.parse(f"https://example.org/{letter * 500}.zip").file_name for letter in "aé"}
    assert len(names) == 2
    assert all(len(name.encode()) <= 120 and name.endswith(".zip") for name in names)


@pytest.mark.parametrize(
    "url",
    [
        "https://user:pa/ss@example.org/a.zip",
        "https://user:pass@example.org:port/a.zip",
        "https://[::1/a.zip",
        "https://\udcff.example/a.zip",
        "https://example.org/\udcff.zip",
    ],
)
def test_address_invalid_raises(url: str) -> None:
    with pytest.raises(tk.DownloadError, match="`url` must have a valid host and port") as error:
        Address.parse(url)
    assert "ss" not in str(error.value).replace("password", "").replace("passing", "")


def test_address_of_other_type_raises() -> None:
    with pytest.raises(TypeError, match="`url` must be a str. Received: bytes"):
        Address.parse(b"https://example.org")  # type: ignore[arg-type]


@given(st.text(max_size=30).map(lambda text: "https://" + text))
def test_address_of_any_text(url: str) -> None:
    try:
        address = Address.parse(url)
    except tk.DownloadError:
        return
    assert address.url.isascii() and "/" not in address.file_name and "\0" not in address.file_name
    assert address.public.isprintable() or not url.isprintable()
