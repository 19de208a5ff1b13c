"""Content hashes and fingerprints."""

from __future__ import annotations

import hashlib
import os
from typing import Any

HASH_BYTES = 32


def content_hash(*parts: bytes) -> bytes:
    """Return 32 bytes that identify the concatenation of `parts`."""
    return hashlib.blake2b(b"".join(parts), digest_size=HASH_BYTES).digest()


def fingerprint(*parts: Any) -> str:
    """Return 32 hexadecimal digits that identify `parts`, compared by their text.

    >>> fingerprint("MobileNetV2", 4) == fingerprint("MobileNetV2", 8)
    False
    """
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of the contents of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
