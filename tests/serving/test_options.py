"""Options are checked at once."""

from __future__ import annotations

from typing import Any

import pytest

from transferkit.serving import ServerOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_upload_bytes": 0}, "`max_upload_bytes` must be an integer of at least 1"),
        ({"max_queue": 1.5}, "`max_queue` must be an integer"),
        ({"max_images": 0}, "`max_images` must be"),
        ({"max_pixels": 0}, "`max_pixels` must be an integer of at least 1"),
        ({"max_pixels": 10**9}, r"at most \$TRANSFERKIT_MAX_PIXELS, 89,478,485"),
        ({"max_batch_delay_ms": -1}, "`max_batch_delay_ms` must be a finite number of at least 0"),
        ({"timeout_seconds": 0}, "`timeout_seconds` must be a finite number above 0"),
        ({"reload_seconds": float("nan")}, "`reload_seconds` must be a finite number"),
        ({"max_buffered_bytes": 5}, "`max_buffered_bytes` must be at least `max_upload_bytes`"),
        ({"api_keys": ("",)}, "`api_keys` must be a tuple"),
        ({"api_keys": "secret"}, "`api_keys` must be a tuple"),
    ],
)
def test_option_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ServerOptions(**options)


def test_max_pixels_follows_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFERKIT_MAX_PIXELS", "1_000")
    assert ServerOptions().pixel_limit == 1000 and ServerOptions(max_pixels=900).pixel_limit == 900
    with pytest.raises(ValueError, match=r"at most \$TRANSFERKIT_MAX_PIXELS, 1,000"):
        ServerOptions(max_pixels=1001)


def test_misspelled_option() -> None:
    with pytest.raises(TypeError, match="Did you mean 'max_queue'"):
        ServerOptions(max_qeue=3)  # type: ignore[call-arg]


def test_images_of_a_request_fit_into_the_queue() -> None:
    assert ServerOptions(max_queue=5).max_images == 5
