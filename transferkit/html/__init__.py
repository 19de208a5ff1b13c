"""Self-contained HTML pages with sortable tables, images, figures and maps."""

from transferkit.html.page import Page
from transferkit.html.pictures import Picture, figure_picture, thumbnails

__all__ = ["Page", "Picture", "figure_picture", "thumbnails"]
