"""Uploads saved classifiers to the Hugging Face Hub.

Reference: https://huggingface.co/docs/huggingface_hub/guides/upload
"""

from __future__ import annotations

import os
from pathlib import Path

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.extras import import_extra
from transferkit._utils.text import printable
from transferkit._utils.version import __version__
from transferkit.errors import UploadError
from transferkit.metadata import METADATA_FILE, MODEL_FILE, checked_model_file, read_metadata
from transferkit.model_card import CARD_FILE, PLOT_FILE
from transferkit.runtimes.loading import NAMES
from transferkit.training_features import FEATURES_FILE

_MAX_REASON = 300


@suggests_arguments
def push_to_hub(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Upload a saved classifier to a repository of the Hugging Face Hub, in one commit.

    The files that `Trainer.save` wrote are uploaded: the model, its metadata, the model card as README.md, and exported
    models. Other files in the folder stay where they are. A repository that does not exist is created.

    Args:
        folder: str or path. A classifier that `Trainer.save` wrote.
        repo_id: str. "user/name" or "organization/name".
        private: bool. Whether a new repository is private. Defaults to None, the setting of the account or
            organization. It does not change an existing repository.
        token: str. An access token with the right to write. Defaults to None, the token of `hf auth login` or
            $HF_TOKEN.
        revision: str. The branch. Defaults to None, "main".
        commit_message: str. Defaults to None, "Upload a classifier with transferkit" and its version.

    Returns:
        The URL of the commit.

    Raises:
        ArtifactError: when the folder is not a saved classifier; nothing is uploaded.
        MissingExtraError: when huggingface_hub is not installed (extra `huggingface`).
        UploadError: when the Hub cannot be reached or refuses; it has all files of the commit or none.

    Example:

    >>> tk.push_to_hub("cats_dogs", "user/cats-dogs")  # doctest: +SKIP
    'https://huggingface.co/user/cats-dogs/commit/...'
    >>> from huggingface_hub import snapshot_download  # doctest: +SKIP
    >>> predictor = tk.load(snapshot_download("user/cats-dogs"))  # doctest: +SKIP
    """
    path = Path(folder)
    checked_model_file(path, read_metadata(path))
    hub = import_extra("huggingface_hub", "Upload to the Hugging Face Hub", "huggingface_hub", "huggingface")
    api = hub.HfApi(token=token, library_name="transferkit", library_version=__version__)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=path,
            revision=revision,
            commit_message=commit_message or f"Upload a classifier with transferkit {__version__}",
            allow_patterns=_patterns(),
        )
    # The client raises OSError and ValueError of many kinds, for connections, tokens and names of repositories.
    except (OSError, ValueError) as error:
        reason = printable(" ".join(str(error).split()))[:_MAX_REASON]
        raise UploadError(
            f"The Hugging Face Hub must accept {str(path)!r} for {repo_id!r}. Received: {reason}. Check the name of "
            "the repository, the connection, and that the token may write to it."
        ) from error
    return str(commit.commit_url)


def _patterns() -> list[str]:
    exported = [pattern for name in NAMES.values() for pattern in (name, f"{name}/*")]
    return [MODEL_FILE, METADATA_FILE, FEATURES_FILE, CARD_FILE, PLOT_FILE, *exported]
