"""Exceptions of transferkit. A message states the requirement, the received value and the remedy."""

from __future__ import annotations


class ImageError(ValueError):
    """An image could not be read; the message contains the file and the reason.

    Attributes:
        path: str, the file as given, or "<bytes>".
        reason: str, the reason without the path.

    Example:

    >>> import transferkit as tk
    >>> try:
    ...     tk.read_image("missing.jpg")
    ... except tk.ImageError as error:
    ...     print(error.reason)
    there is no such file
    """

    def __init__(self, path: object, reason: str) -> None:
        self.path: str = path if isinstance(path, str) else str(path)
        self.reason = reason
        super().__init__(f"Cannot read image {self.path!r}: {reason}")

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # Without this, an exception with two arguments cannot be pickled for another process.
        return type(self), (self.path, self.reason)


class DataError(ValueError):
    """The data do not form a valid dataset.

    Example:

    >>> import transferkit as tk
    >>> try:
    ...     tk.scan("missing/")
    ... except tk.DataError as error:
    ...     print(error)
    `folder` must be a folder of images. Received: 'missing/': there is no such folder. Check the path.
    """


class WeightsError(ValueError):
    """Weights are not available, or do not fit the model.

    Example:

    >>> import transferkit as tk
    >>> try:
    ...     tk.BackboneFactory.create("MobileNetV2", weights="missing.h5")
    ... except tk.WeightsError as error:
    ...     print(error)  # doctest: +ELLIPSIS
    `weights` must be "imagenet", None, or the path of a file. Received: 'missing.h5', and there is no file ...
    """


class DownloadError(OSError):
    """A download failed; no incomplete or wrong file was stored.

    Example:

    >>> try:  # doctest: +SKIP
    ...     tk.datasets.download("https://example.com/photos.zip")
    ... except tk.DownloadError as error:
    ...     print(error)
    """


class UploadError(OSError):
    """A server refused an upload or could not be reached; it has nothing incomplete.

    Example:

    >>> try:  # doctest: +SKIP
    ...     tk.push_to_hub("classifier", "name/classifier")
    ... except tk.UploadError as error:
    ...     print(error)
    """


class StorageError(OSError):
    """A file could not be written, as on a full disk; nothing incomplete remains, and earlier files are unchanged.

    Example:

    >>> try:  # doctest: +SKIP
    ...     trainer.save("/full_disk/classifier")
    ... except tk.StorageError as error:
    ...     print(error)
    """


class ShardError(RuntimeError):
    """A shard of a large job could not be computed; complete ones are kept, and the same call continues.

    Example:

    >>> try:  # doctest: +SKIP
    ...     tk.extract_features("photos/", backbone, out="features/", engine=4)
    ... except tk.ShardError as error:
    ...     print(error)
    """


class ArtifactError(ValueError):
    """A folder is not a valid saved classifier.

    Example:

    >>> import transferkit as tk
    >>> try:
    ...     tk.load("missing/")
    ... except tk.ArtifactError as error:
    ...     print(error)  # doctest: +ELLIPSIS
    `folder` must be a classifier saved by Trainer.save. Received: ...
    """


class ExportError(RuntimeError):
    """An exported model could not be written, or differs from the original; nothing was left at its path.

    Example:

    >>> try:  # doctest: +SKIP
    ...     tk.export(trainer, "model.tflite", precision="int8", calibration=data)
    ... except tk.ExportError as error:
    ...     print(error)
    """


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message contains the extra that installs it.

    Attributes:
        extra: str, the name of the extra, for example "fast".

    Example:

    >>> MissingExtraError("Reading Parquet files", "pandas", "tables").extra
    'tables'
    """

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} requires the package {package!r}, which is not installed. "
            f'Install it with: pip install "transferkit[{extra}]"'
        )
        self.extra = extra


class TrainingError(RuntimeError):
    """Training was stopped because its result would be of no use; the weights before the failure were restored.

    Example:

    >>> try:  # doctest: +SKIP
    ...     trainer.fit(data, learning_rate=1e6)
    ... except tk.TrainingError as error:
    ...     print(error)
    """
