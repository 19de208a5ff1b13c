"""A seeded mutator of files, shared by the fuzz tests."""

import os

import numpy as np

# Values at which lengths, counts and offsets overflow or vanish.
_EDGES = (b"\x00", b"\xff", b"\x7f\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x80\x00\x00\x00")


def case_count(small: int) -> int:
    """Return the number of cases of a test: `small`, or $TRANSFERKIT_FUZZ_CASES."""
    return int(os.environ.get("TRANSFERKIT_FUZZ_CASES", small))


def generator(stream: int = 0) -> np.random.Generator:
    """Return the random generator of a test: of seed 0, or $TRANSFERKIT_FUZZ_SEED."""
    return np.random.default_rng([int(os.environ.get("TRANSFERKIT_FUZZ_SEED", "0")), stream])


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return `data` after one to four mutations; most hit the first kilobyte, where the structure of a file is."""
    for _ in range(int(rng.integers(1, 5))):
        data = _MUTATIONS[int(rng.integers(len(_MUTATIONS)))](data, rng)
    return data


def _position(data: bytes, rng: np.random.Generator) -> int:
    length = len(data) if rng.random() < 0.4 else min(len(data), 1024)
    return int(rng.integers(length + 1))


def _flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if data else 0):
        changed[min(_position(data, rng), len(data) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def _delete(data: bytes, rng: np.random.Generator) -> bytes:
    start = _position(data, rng)
    return data[:start] + data[start + int(rng.integers(1, 65)) :]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    start = _position(data, rng)
    return data[:start] + rng.bytes(int(rng.integers(1, 33))) + data[start:]


def _overwrite(data: bytes, rng: np.random.Generator) -> bytes:
    start, edge = _position(data, rng), _EDGES[int(rng.integers(len(_EDGES)))]
    return data[:start] + edge + data[start + len(edge) :]


def _copy_piece(data: bytes, rng: np.random.Generator) -> bytes:
    source, target = _position(data, rng), _position(data, rng)
    return data[:target] + data[source : source + int(rng.integers(1, 257))] + data[target:]


_MUTATIONS = (_flip_bits, _flip_bits, _cut, _delete, _insert, _overwrite, _copy_piece)
