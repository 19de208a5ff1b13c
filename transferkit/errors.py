"""Exceptions of transferkit. A message states the requirement, the received value and the remedy."""

from __future__ import annotations


class ImageError(ValueError):
    """An image could not be read; the message contains the file and the reason.

    Attributes:
        path: str, the file as given, or "<bytes>".
        reason: str, the reason without the path.
    """

    def __init__(self, path: object, reason: str) -> None:
        self.path = path if isinstance(path, str) else str(path)
        self.reason = reason
        super().__init__(f"Cannot read image {self.path!r}: {reason}")

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # Without this, an exception with two arguments cannot be pickled for another process.
        return type(self), (self.path, self.reason)


class DataError(ValueError):
    """The data do not form a valid dataset."""


class WeightsError(ValueError):
    """Weights are not available, or do not fit the model."""


class DownloadError(OSError):
    """A download failed; no incomplete or wrong file was stored."""


class UploadError(OSError):
    """A server refused an upload or could not be reached; it has nothing incomplete."""


class StorageError(OSError):
    """A file could not be written, as on a full disk; nothing incomplete remains, and earlier files are unchanged."""


class ArtifactError(ValueError):
    """A folder is not a valid saved classifier."""


class ExportError(RuntimeError):
    """An exported model could not be written, or differs from the original; nothing was left at its path."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message contains the extra that installs it.

    Attributes:
        extra: str, the name of the extra, for example "fast".
    """

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} requires the package {package!r}, which is not installed. "
            f'Install it with: pip install "transferkit[{extra}]"'
        )
        self.extra = extra


class TrainingError(RuntimeError):
    """Training was stopped because its result would be of no use; the weights before the failure were restored."""
