"""An HTTP server for saved classifiers: JSON and the Open Inference Protocol (extra `serve`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transferkit._utils.lazy import lazy_getattr

# Loaded when they are used: the options are read without the packages of the extra.
_PUBLIC = {"ServerOptions": "options", "create_app": "app", "serve": "server"}

__all__ = ["ServerOptions", "create_app", "serve"]

__getattr__: Callable[[str], Any] = lazy_getattr(__name__, _PUBLIC)

if TYPE_CHECKING:
    from transferkit.serving.app import create_app
    from transferkit.serving.options import ServerOptions
    from transferkit.serving.server import serve
