"""Messages about weights from URLs."""

from __future__ import annotations

import pytest

from transferkit import WeightsError
from transferkit.backbones.weights import resolve_weights


@pytest.mark.parametrize("sha256", [None, "0" * 64], ids=["without checksum", "unreachable"])
def test_resolve_weights_of_url_hides_password(sha256: str | None) -> None:
    # Nothing listens on port 1.
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1:1/mine\.h5") as caught:
        resolve_weights("http://anna:geheim@127.0.0.1:1/mine.h5?key=s3cret99", sha256=sha256)
    assert "geheim" not in str(caught.value) and "s3cret99" not in str(caught.value)
