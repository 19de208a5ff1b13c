"""The images of a tar archive with their labels: those of WebDataset, else the folders of the archive."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator

from transferkit._utils.files import parse_json
from transferkit.data.cells import to_name
from transferkit.images.files import MAX_BYTES
from transferkit.sharding.archive_image import ArchiveImage
from transferkit.sharding.archives import Archive
from transferkit.sharding.tar_members import LABEL_KINDS, TarMember, tar_members

# Files about one example: more have a key in common by chance, as in photo.1.jpg, photo.2.jpg and so on.
_MAX_MEMBERS = 64
_JSON_KEYS = ("label", "class")


def tar_images(stream: io.BufferedReader, archive: Archive) -> Iterator[ArchiveImage]:
    """Yield the images of an archive in its order.

    Raises:
        DamagedArchive, UnsafeArchive, tarfile.TarError and others: as `tar_members` does.
    """
    for group in group_members(tar_members(stream, archive.size)):
        yield from _labeled(group, archive.path)


def group_members(members: Iterable[TarMember]) -> Iterator[list[TarMember]]:
    """Yield lists of consecutive members with one key, which are the files about one example.

    A list ends early when it would fill the memory.
    """
    group: list[TarMember] = []
    size = 0
    for member in members:
        added = len(member.contents) if isinstance(member.contents, bytes) else 0
        if group and (member.key != group[0].key or size + added > MAX_BYTES or _is_full(group, member)):
            yield group
            group, size = [], 0
        group.append(member)
        # A member takes some memory without any contents.
        size += added + 1024
    if group:
        yield group


def _is_full(group: list[TarMember], member: TarMember) -> bool:
    # An image and its own label stay together.
    return len(group) >= _MAX_MEMBERS and member.prefix != group[-1].prefix


def _labeled(group: list[TarMember], path: str) -> Iterator[ArchiveImage]:
    labels = {(member.prefix, member.extension): member for member in group if member.is_label}
    for member in group:
        if not member.is_label:
            found = (_label_of(labels, prefix) for prefix in dict.fromkeys((member.prefix, "")))
            label = next((one for one in found if one is not None), None) or _first_folder(member.name)
            yield ArchiveImage(f"{path}#{member.name}", label, member.contents)


def _label_of(labels: dict[tuple[str, str], TarMember], prefix: str) -> str | None:
    for kind in LABEL_KINDS:
        member = labels.get((prefix, kind))
        if member is not None and isinstance(member.contents, bytes):
            label = _json_label(member.contents) if kind == "json" else _text(member.contents)
            if label is not None:
                return label
    return None


def _json_label(contents: bytes) -> str | None:
    with contextlib.suppress(ValueError):
        values = parse_json(contents)
        for key in _JSON_KEYS if isinstance(values, dict) else ():
            value = values.get(key)
            if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                return to_name(str(value)) or None
    return None


def _text(contents: bytes) -> str | None:
    return to_name(contents.decode("utf-8", "replace")) or None


def _first_folder(name: str) -> str | None:
    folders = [part for part in name.split("/")[:-1] if part not in ("", os.curdir, os.pardir)]
    return (to_name(folders[0]) or folders[0]) if folders else None
