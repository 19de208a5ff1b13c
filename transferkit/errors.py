"""The errors that transferkit raises beyond Python's own.

Every message follows one grammar: what must hold, what was received, what to do.
"""

from __future__ import annotations


class ImageError(ValueError):
    """A file could not be turned into pixels; the message names the file and the reason.

    Attributes:
        path: str, the file as it was given, or "<bytes>".
        reason: str, why it cannot be read, without the path.
    """

    def __init__(self, path: object, reason: str) -> None:
        self.path = path if isinstance(path, str) else str(path)
        self.reason = reason
        super().__init__(f"Cannot read image {self.path!r}: {reason}")

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # Exceptions with two arguments do not survive a trip between processes without this.
        return type(self), (self.path, self.reason)


class DataError(ValueError):
    """The data given cannot make a data set."""


class WeightsError(ValueError):
    """Weights could not be had, or do not fit the model."""


class DownloadError(OSError):
    """A file could not be fetched whole and right; nothing of it was kept."""


class ArtifactError(ValueError):
    """A saved folder is not a whole, readable transferkit artifact."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the package {package!r}, which is not installed. "
            f'Install it with: pip install "transferkit[{extra}]"'
        )
        self.extra = extra
