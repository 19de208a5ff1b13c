"""The folder of a training run: the saved classifier with report, curves and configuration, and its checkpoints."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transferkit._utils.files import atomic_write, read_json
from transferkit._utils.lazy import LazyModule
from transferkit.cli.config import to_toml
from transferkit.errors import StorageError

# Imported when it is used, because it needs NumPy.
loading: Any = LazyModule("transferkit.runtimes.loading")

CONFIG, REPORT, CURVES = "config.toml", "report.html", "curves.png"
_OPTIONS = "options.json"
_METADATA, _CARD = "transferkit.json", "README.md"


class RunFolder:
    """A folder that is a saved classifier with more files.

    Until a run is complete, its options and checkpoints are in `checkpoints/`: the files of an earlier run are replaced
    when those of the new one are complete.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        self.checkpoints: Path = self.path / "checkpoints"

    def check_new(self, *, overwrite: bool) -> None:
        """Raise a StorageError when the folder has files that a new run would replace."""
        if self.path.exists() and not self.path.is_dir():
            raise StorageError(f"`out` must be a folder. Received: {str(self.path)!r}, a file. Choose another name.")
        names = sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []
        if not names or (overwrite and self._is_run(names)):
            return
        if not self._is_run(names):
            raise StorageError(
                f"`out` must be a new or empty folder. Received: {str(self.path)!r}, which has {names[0]!r} and is not "
                "an earlier run. Choose another folder."
            )
        is_open = (self.checkpoints / _OPTIONS).is_file()
        raise StorageError(
            f"`out` must be a new or empty folder. Received: {str(self.path)!r}, which has "
            f"{'an interrupted' if is_open else 'an earlier'} run. Choose another folder, or give "
            f"{'--resume to continue it, or ' if is_open else ''}--overwrite to replace it."
        )

    def options(self) -> dict[str, Any]:
        """Return the options of an interrupted run.

        Raises:
            StorageError: when there is none.
        """
        values = read_json(self.checkpoints / _OPTIONS)
        if not values:
            state = "a complete run" if (self.path / _METADATA).is_file() else "none"
            raise StorageError(
                f"`out` must have an interrupted run to resume. Received: {str(self.path)!r}, with {state}. Train "
                "without --resume."
            )
        return values

    def begin(self, options: Mapping[str, Any]) -> None:
        """Store the options of a new run, without the checkpoints of another one."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        with atomic_write(self.checkpoints / _OPTIONS) as path:
            path.write_text(json.dumps(dict(options)), encoding="utf-8")

    def cancel_without_epochs(self) -> bool:
        """Delete what `begin` wrote, unless an epoch was completed; return whether the run can be resumed."""
        if any(self.checkpoints.glob("phase-*.npz")):
            return True
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        with contextlib.suppress(OSError):
            # Only an empty folder can be deleted in this way.
            self.path.rmdir()
        return False

    @contextlib.contextmanager
    def replaced(self, options: Mapping[str, Any]) -> Iterator[Path]:
        """Yield a folder for the saved classifier and other files, which replace those of the run on success."""
        # It has the name of the run, which is that of the model card.
        staging = self.checkpoints / self.path.absolute().name
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir(parents=True)
            if (self.path / _METADATA).is_file() and (self.path / _CARD).is_file():
                # Trainer.save keeps a model card that was changed.
                for name in (_METADATA, _CARD):
                    shutil.copyfile(self.path / name, staging / name)
            yield staging
            (staging / CONFIG).write_text(to_toml(options), encoding="utf-8", errors="replace")
            self._delete_exported_models()
            # The metadata last: they have the checksum of the model.
            for path in sorted(staging.iterdir(), key=lambda path: path.name == _METADATA):
                os.replace(path, self.path / path.name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def complete(self) -> None:
        """Delete the checkpoints of a complete run."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _delete_exported_models(self) -> None:
        """Delete exported models, which are those of the earlier classifier."""
        for name in loading.NAMES.values():
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _is_run(self, names: list[str]) -> bool:
        return CONFIG in names or (self.checkpoints / _OPTIONS).is_file()
