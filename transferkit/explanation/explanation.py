"""The explanation of the prediction for one image, and a list of explanations."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from transferkit import plots
from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.text import printable, shorten
from transferkit.explanation.neighbors import Neighbor
from transferkit.explanation.overlay import overlay_heatmap

PathLike = str | os.PathLike[str]
_MAX_LISTED = 5


@suggests_arguments
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Which parts of an image speak for a class, from `explain`.

    Attributes:
        path: str. The file, or None for arrays and bytes.
        error: str. Why there is no explanation, or None. With an error, all attributes below are None, or empty.
        image: uint8 (height, width, 3), the image as the model receives it.
        heatmap: float32 (height, width) in [0, 1]: 1 where most speaks for the class, 0 where nothing does.
        values: float32 (rows, columns), the signed values before scaling: positive ones speak for the class.
        class_name: str. The explained class; None for numbers as labels.
        probability: float in [0, 1], of that class; None for numbers as labels.
        method: str. Name of the method.
        neighbors: tuple of `Neighbor`, the most similar training images, best first; empty where none were requested.
        value: float. The explained number, which positive parts raise; None for classes.

    Example:

    >>> explanation = tk.explain(trainer, "photo.jpg")  # doctest: +SKIP
    >>> explanation.class_name, explanation.peak  # doctest: +SKIP
    ('cats', (72.0, 88.5))
    """

    path: str | None
    error: str | None = None
    image: np.ndarray | None = None
    heatmap: np.ndarray | None = None
    values: np.ndarray | None = None
    class_name: str | None = None
    probability: float | None = None
    method: str | None = None
    neighbors: tuple[Neighbor, ...] = ()
    value: float | None = None

    @property
    def peak(self) -> tuple[float, float] | None:
        """(row, column) of the maximum of the heat map, the center of all pixels that have it; None where it is 0."""
        if self.heatmap is None or not self.heatmap.any():
            return None
        row, column = np.argwhere(self.heatmap == self.heatmap.max()).mean(axis=0)
        return float(row), float(column)

    def overlay(self, alpha: float = 0.5, *, colormap: str = "turbo") -> np.ndarray:
        """Return the image with the heat map as colors.

        Args:
            alpha: float in [0, 1], weight of the colors. Defaults to 0.5.
            colormap: str, name of a colormap of matplotlib. Defaults to "turbo".

        Returns:
            uint8 (height, width, 3), RGB.

        Raises:
            ValueError: when an argument is out of its range, or there is no explanation.
        """
        image, heatmap = self._require()
        return overlay_heatmap(image, heatmap, alpha, colormap)

    def show(self, path: PathLike | None = None) -> plots.Figure:
        """Plot the image, the heat map over it, and the most similar training images with their labels.

        Args:
            path: str or path. Where to save the figure. Defaults to None, not saved.

        Returns:
            The matplotlib figure, which a notebook shows.

        Raises:
            ValueError: when there is no explanation.
        """
        image, _ = self._require()
        name = os.path.basename(self.path) if self.path else "image"
        images, titles = [image, self.overlay()], [printable(name), self.title]
        for neighbor in self.neighbors:
            images.append(neighbor.load((image.shape[0], image.shape[1])))
            titles.append(f"{printable(neighbor.label)}, similarity {neighbor.similarity:.2f}")
        return plots.image_grid(images, titles, path=path, columns=min(len(images), 4))

    @property
    def title(self) -> str:
        """The explained class with its probability, the explained number, or the error."""
        if self.error:
            return "cannot be read"
        return f"{self.value:.4g}" if self.value is not None else f"{printable(self.class_name)} {self.probability:.2f}"

    def _require(self) -> tuple[np.ndarray, np.ndarray]:
        if self.image is None or self.heatmap is None:
            raise ValueError(
                f"An explanation must have a heat map. Received: that of {self.path!r}, with the error "
                f"{self.error!r}. Replace the file."
            )
        return self.image, self.heatmap

    def __repr__(self) -> str:
        if self.error:
            return f"Explanation(error={self.error!r}, path={self.path!r})"
        if self.value is not None:
            explained = f"value={self.value:.5g}"
        else:
            explained = f"class_name={self.class_name!r}, probability={self.probability:.4f}"
        return f"Explanation({explained}, method={self.method!r}, path={self.path!r})"


class Explanations(list[Explanation]):
    """A list of `Explanation` that can be plotted.

    Example:

    >>> tk.explain(trainer, ["a.jpg", "b.jpg"]).show("heat_maps.png")  # doctest: +SKIP
    """

    def show(self, path: PathLike | None = None, *, columns: int | None = None, alpha: float = 0.5) -> plots.Figure:
        """Plot the images with their heat maps in a grid, each with the explained class and its probability.

        Args:
            path: str or path. Where to save the figure. Defaults to None, not saved.
            columns: int >= 1. Images per row. Defaults to None, a grid that is as square as possible.
            alpha: float in [0, 1], weight of the colors. Defaults to 0.5.

        Returns:
            The matplotlib figure, which a notebook shows.

        Raises:
            ValueError: when an argument is out of its range.

        Example:

        >>> tk.explain(trainer, "new_images/").show("heat_maps.png")  # doctest: +SKIP
        """
        size = next((one.image.shape for one in self if one.image is not None), (1, 1, 3))
        # A file that cannot be read keeps its place, as a gray image.
        images = [np.full(size, 128, np.uint8) if one.error else one.overlay(alpha) for one in self]
        wrong = [one.error is not None for one in self]
        return plots.image_grid(images, [one.title for one in self], path=path, columns=columns, wrong=wrong)

    def __repr__(self) -> str:
        lines = [f"  {one!r}" for one in self[:_MAX_LISTED]] + ["  ..."] * (len(self) > _MAX_LISTED)
        return shorten("\n".join([f"Explanations of {len(self)} images", *lines]))
