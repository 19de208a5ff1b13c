"""The OpenAPI document as a page without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transferkit._utils.text import escape_html


def openapi_html(document: Mapping[str, Any]) -> str:
    """Return a page with the routes, parameters, bodies and responses of an OpenAPI document."""
    title = escape_html(f"{document['info']['title']} {document['info']['version']}")
    routes = "".join(
        _operation_html(method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/static/page.css"></head>\n'
        f"<body>\n<h1>{title}</h1>\n<p>{escape_html(document['info'].get('description', ''))}</p>\n"
        '<p><a href="/">Page for photos</a> <a href="/openapi.json">OpenAPI document</a></p>\n'
        f"{routes}</body>\n</html>\n"
    )


def _operation_html(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"<h2><code>{method.upper()} {escape_html(path)}</code></h2>"]
    parts.append(f"<p>{escape_html(operation.get('summary', ''))}</p>")
    parameters = [
        (one["name"], one["in"], "required" if one.get("required") else "optional", one.get("description", ""))
        for one in operation.get("parameters", [])
    ]
    if parameters:
        parts.append(_table(("Parameter", "In", "", ""), parameters))
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        parts.append(
            _table(("Body", "Fields"), [(name, _fields(one.get("schema", {}))) for name, one in content.items()])
        )
    responses = [(status, one.get("description", "")) for status, one in operation.get("responses", {}).items()]
    parts.append(_table(("Status", ""), responses))
    return "".join(parts) + "\n"


def _fields(schema: Mapping[str, Any]) -> str:
    properties = schema.get("properties")
    return ", ".join(properties) if properties else "the contents of an image"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape_html(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape_html(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
