"""`transferkit serve`: an HTTP server for saved classifiers."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import logging
import os

from transferkit._utils.extras import import_extra
from transferkit.serving.options import ServerOptions

# Module -> package of the extra.
_PACKAGES = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options, with the defaults of the server in the help."""
    defaults = ServerOptions()
    parser.description = (
        "Serve saved classifiers over HTTP (extra `serve`). An API key is read from $TRANSFERKIT_API_KEY "
        "or a file. SIGTERM finishes the requests in progress."
    )
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="folder of a saved classifier; its name is served")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0 for any free one")
    parser.add_argument(
        "--engine", default="auto", help="auto (the fastest), keras, frozen_graph, openvino, onnx or litert"
    )
    for name, text in (
        ("max-upload-bytes", "bytes of the body of a request"),
        ("max-buffered-bytes", "bytes of the bodies of all requests in progress"),
        ("max-images", "images of a request"),
        ("max-queue", "images that wait for a model"),
    ):
        default = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=text)
    text = "pixels of an image, at most $TRANSFERKIT_MAX_PIXELS, which is the default"
    parser.add_argument("--max-pixels", type=int, default=argparse.SUPPRESS, metavar="N", help=text)
    for name, text in (
        ("max-batch-delay-ms", "how long a batch waits for requests that are being received"),
        ("timeout-seconds", "time from the headers of a request to its response, and of a shutdown"),
        ("reload-seconds", "how often the folders are checked for a new model; 0 for never"),
    ):
        default = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=float, default=default, metavar="X", help=text)
    parser.add_argument("--api-key-file", metavar="FILE", help="file with one API key per line")
    parser.add_argument("--training-images", metavar="FOLDER", help="folder of training images, to show similar ones")


def run(arguments: argparse.Namespace) -> int:
    """Serve until the process is asked to end."""
    for module, package in _PACKAGES.items():
        import_extra(module, "transferkit serve", package, "serve")
    # Imported here: --help must not need the packages of the extra.
    server = importlib.import_module("transferkit.serving.server")
    api_keys = importlib.import_module("transferkit.serving.api_key").read_api_keys(arguments.api_key_file)
    names = [field.name for field in dataclasses.fields(ServerOptions) if field.name in arguments]
    options = ServerOptions(api_keys=api_keys, **{name: getattr(arguments, name) for name in names})
    server.configure_logging()
    address = {"host": arguments.host, "port": arguments.port}
    if not server.serve(arguments.folders, options, **address, engine=arguments.engine):
        logging.shutdown()
        # The normal end of Python would wait for, or crash with, a thread that still runs a model.
        os._exit(0)
    return 0
