"""Self-contained HTML pages with sortable tables, images, figures and maps."""

from transferkit.html.maps import MapPoints
from transferkit.html.page import Page
from transferkit.html.pictures import Picture, array_picture, plot_picture, thumbnails
from transferkit.html.projection import METHODS as PROJECTIONS
from transferkit.html.projection import project

__all__ = ["PROJECTIONS", "MapPoints", "Page", "Picture", "array_picture", "plot_picture", "project", "thumbnails"]
