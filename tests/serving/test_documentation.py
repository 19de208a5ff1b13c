"""docs/serving.md has the options, codes and routes of the code."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from tests.serving.conftest import Running
from transferkit.serving import ServerOptions

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def test_options_are_documented_with_their_defaults() -> None:
    for field in dataclasses.fields(ServerOptions):
        if field.name != "api_keys":
            assert f"| `--{field.name.replace('_', '-')}` |" in TEXT, field.name
    options = ServerOptions()
    assert f"| `--max-upload-bytes` | {options.max_upload_bytes >> 20} MiB |" in TEXT
    assert f"| `--max-buffered-bytes` | {options.max_buffered_bytes >> 20} MiB |" in TEXT
    for name in ("max_images", "max_queue", "max_batch_delay_ms", "timeout_seconds", "reload_seconds"):
        assert f"| `--{name.replace('_', '-')}` | {getattr(options, name):g} |" in TEXT, name


def test_codes_are_documented() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "transferkit" / "serving").glob("*.py"))
    codes = re.findall(r'(?:RequestError\(|_refuse\(|send_error\(|busy\()\s*(?:\d+,\s*)?"(\w+)"', source)
    codes += re.findall(r'40[45]: "(\w+_\w+)"', source)
    assert len(set(codes)) > 12
    assert [code for code in codes if f"`{code}`" not in TEXT] == []


def test_routes_are_documented(running: Running) -> None:
    paths = [path.replace("{name}", "NAME") for path in running.app.openapi()["paths"]]
    assert [path for path in [*paths, "/metrics", "/docs", "/openapi.json"] if path not in TEXT] == []
