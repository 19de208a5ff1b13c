"""OpenVINO: the cached conversion, and the requests of concurrent calls."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.engines.conftest import images_for, keras_outputs
from tests.training.conftest import small_network
from tests.waiting import TIMEOUT
from transferkit.engines import compile_engine, openvino
from transferkit.engines.verification import relative_error


def test_openvino_after_failed_call_still_runs() -> None:
    model = small_network(48)
    compiled = compile_engine(model, engine="openvino", batch_size=4)
    images = images_for(model, 12)
    rows: list[int] = []

    def fail_often_and_run() -> None:
        for _ in range(10 * compiled.streams):
            with pytest.raises((RuntimeError, ValueError)):
                compiled(images[:, :40])
        rows.append(len(compiled(images)[0]))

    # In a thread that ends with the process: lost requests would be waited for without end.
    thread = threading.Thread(target=fail_often_and_run, daemon=True)
    thread.start()
    thread.join(timeout=TIMEOUT)
    assert rows == [12]


def test_load_compiled_damaged_file_is_converted_again(own_home: Path) -> None:
    model = small_network(48)
    compile_engine(model, engine="openvino", batch_size=8)
    (file,) = (own_home / "engines").glob("*.blob")
    content = file.read_bytes()
    images = images_for(model)
    expected = keras_outputs(model, images)
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (content[:-8], changed, content[:10], b""):
        file.write_bytes(damaged)
        assert openvino.load_compiled(file.stem, 8, "float32") is None
        assert relative_error(compile_engine(model, engine="openvino", batch_size=8)(images), expected) < 1e-4
        assert openvino.load_compiled(file.stem, 8, "float32") is not None


def test_is_cached_follows_file(own_home: Path) -> None:
    assert not openvino.is_cached("key") and openvino.load_compiled("key", 8, "float32") is None
    compile_engine(small_network(48), engine="openvino", batch_size=8)
    (file,) = (own_home / "engines").glob("*.blob")
    assert openvino.is_cached(file.stem)
    file.unlink()
    assert not openvino.is_cached(file.stem)


@pytest.mark.parametrize("first", ["float32", "bfloat16"])
def test_load_compiled_in_any_precision(monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    model = small_network(48)
    images = images_for(model)
    expected = keras_outputs(model, images)
    compile_engine(model, engine="openvino", batch_size=8, precision=first)
    # The model is converted once for all precisions.
    monkeypatch.setattr(openvino, "convert", None)
    full, reduced = (
        compile_engine(model, engine="openvino", batch_size=8, precision=precision)
        for precision in ("float32", "bfloat16")
    )
    assert (full.precision, reduced.precision) == ("float32", "bfloat16")
    assert relative_error(full(images), expected) < 1e-5
    if "BF16" in openvino.openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert 1e-4 < relative_error(reduced(images), expected) < 0.1
    else:
        # The processor has no instructions for it.
        assert relative_error(reduced(images), expected) < 1e-5


def test_convert_without_writable_cache(own_home: Path) -> None:
    model = small_network(48)
    (own_home / "engines").write_text("no folder")
    compiled = compile_engine(model, engine="openvino", batch_size=8)
    images = images_for(model)
    assert relative_error(compiled(images), keras_outputs(model, images)) < 1e-4


_SIGNAL = """
import faulthandler, gc, signal
faulthandler.enable()
from tests.training.conftest import small_network
from transferkit.engines import compile_engine
model = small_network(48)
first = compile_engine(model, engine="openvino", batch_size=8)
second = compile_engine(model, engine="openvino", batch_size=4)
del first
gc.collect()
del second
gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="alternate stacks of signals")
def test_signal_after_engines_were_deleted() -> None:
    root = Path(__file__).parents[2]
    preparation = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    done = subprocess.run(
        [sys.executable, "-c", preparation + _SIGNAL],
        cwd=root,
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr[-500:]
