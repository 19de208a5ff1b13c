"""Content hashes and fingerprints."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from transferkit._utils.hashing import HASH_BYTES, content_hash, fingerprint, sha256_of


def test_content_hash_is_blake2b_of_all_parts() -> None:
    expected = hashlib.blake2b(b"abc", digest_size=32).digest()
    assert content_hash(b"abc") == content_hash(b"a", b"bc") == content_hash(b"a", b"", b"bc") == expected
    assert len(content_hash()) == HASH_BYTES == 32
    assert content_hash(b"abd") != expected


def test_fingerprint_separates_parts() -> None:
    assert fingerprint("a", 1, None) == fingerprint("a", "1", "None")
    assert len({fingerprint("ab", "c"), fingerprint("a", "bc"), fingerprint("abc"), fingerprint("abc", "")}) == 4
    assert len(fingerprint()) == 32 and set(fingerprint(1)) <= set("0123456789abcdef")


def test_sha256_of_large_file(tmp_path: Path) -> None:
    content = os.urandom((1 << 20) + 7)
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
