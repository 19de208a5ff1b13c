"""Features in two dimensions, for a map of images."""

from __future__ import annotations

import numpy as np

from transferkit._utils.checks import check_choice
from transferkit._utils.extras import import_extra

METHODS = ("pca", "tsne", "umap")
# t-SNE is defined for fewer neighbors than images.
_PERPLEXITY = 30


def project(features: np.ndarray, method: str = "pca", seed: int = 0) -> np.ndarray:
    """Return features (n, size) as float positions (n, 2).

    "pca" needs no extra; "tsne" needs scikit-learn and "umap" needs umap-learn (extra `maps`), and they show groups of
    similar images better. The same seed gives the same positions.

    References: van der Maaten and Hinton, "Visualizing Data using t-SNE", 2008; McInnes et al., "UMAP", 2018,
    arXiv:1802.03426.
    """
    check_choice("method", method, METHODS)
    features = np.asarray(features, np.float64)
    if method == "tsne":
        tsne = import_extra("sklearn.manifold", "method='tsne'", "scikit-learn", "maps").TSNE
    if method == "umap":
        umap = import_extra("umap", "method='umap'", "umap-learn", "maps").UMAP
    if method == "tsne" and len(features) > 3:
        perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
        reduced = _principal_components(features, 50)
        return tsne(n_components=2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    if method == "umap" and len(features) > 3:
        return umap(n_neighbors=min(15, len(features) - 1), random_state=seed).fit_transform(features)
    return _principal_components(features, 2)


def _principal_components(features: np.ndarray, count: int) -> np.ndarray:
    """Return the first principal components (n, count), each with a sign that does not depend on the machine."""
    centered = features - features.mean(axis=0)
    left, scales, right = np.linalg.svd(centered, full_matrices=False)
    components = (left * scales)[:, :count]
    largest = right[np.arange(len(scales)), np.abs(right).argmax(axis=1)][:count]
    components = components * np.where(largest < 0, -1, 1)
    return np.pad(components, ((0, 0), (0, max(0, count - components.shape[1])))) if count == 2 else components
