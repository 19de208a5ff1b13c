"""Self-contained HTML pages with sortable tables, images, figures and maps."""

from transferkit.pages.maps import MapPoints
from transferkit.pages.page import Page
from transferkit.pages.pictures import Picture, array_picture, plot_picture, thumbnails
from transferkit.pages.projection import METHODS as PROJECTIONS
from transferkit.pages.projection import project

__all__ = ["PROJECTIONS", "MapPoints", "Page", "Picture", "array_picture", "plot_picture", "project", "thumbnails"]
