"""Limits on bytes, pixels, images, the queue and the time, over real connections."""

from __future__ import annotations

import contextlib
import io
import json
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from tests.serving.conftest import Running, Serve
from tests.serving.fakes import FakePredictor, png
from tests.waiting import TIMEOUT, at_once, wait_until

OCTETS = {"content-type": "application/octet-stream"}
HEAD = "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"


def exchange(port: int, *parts: str | bytes | float) -> tuple[int, dict[str, Any]]:
    """Send texts and bytes, wait for the numbers between them; return the status and the body."""
    with at_once(), socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        for part in parts:
            if isinstance(part, float):
                time.sleep(part)
            else:
                connection.sendall(part.encode() if isinstance(part, str) else part)
        answer = b""
        # Until the server closes the connection.
        while received := connection.recv(65536):
            answer += received
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_declared_length_is_refused_before_the_body(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, max_upload_bytes=1000)
    status, body = exchange(running.port, HEAD + f"Content-Length: {1 << 30}\r\n\r\n")
    assert status == 413 and body["error"]["code"] == "body_too_large"
    wait_until(lambda: running.service.metrics.buffered._value.get() == 0)


def test_chunked_body_is_refused_while_it_is_read(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, max_upload_bytes=1000)
    chunk = b"400\r\n" + 1024 * b"x" + b"\r\n"
    status, body = exchange(running.port, HEAD + "Transfer-Encoding: chunked\r\n\r\n", chunk, chunk, b"0\r\n\r\n")
    assert status == 413 and body["error"]["code"] == "body_too_large"


def test_client_that_sends_everything_first_sees_413(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, max_upload_bytes=1000)
    response = running.client.post("/v1/predict", content=bytes(20 << 20), headers=OCTETS)
    assert response.status_code == 413 and response.headers["connection"] == "close"


@pytest.mark.parametrize("chunked", [True, False])
def test_body_of_a_gigabyte_is_refused_with_little_memory(run: Serve, predictor: FakePredictor, chunked: bool) -> None:
    running = run(predictor, max_upload_bytes=1 << 20)
    block = bytes(1 << 20)
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {1 << 30}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with socket.create_connection(("127.0.0.1", running.port), timeout=TIMEOUT) as connection:
        connection.sendall(f"{HEAD}{length}\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            for _ in range(1024):
                connection.sendall(b"100000\r\n" + block + b"\r\n" if chunked else block)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413") and b"body_too_large" in answer
    # In kilobytes on Linux.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_slow_bodies_delay_no_other_request(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, max_batch_delay_ms=5)
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            connection.sendall((HEAD + "Content-Length: 500\r\n\r\nabc").encode())
        wait_until(lambda: running.service.metrics.buffered._value.get() == 300)
        with at_once():
            for _ in range(20):
                assert running.client.post("/v1/predict", content=png(1), headers=OCTETS).status_code == 200


def test_largest_body_is_accepted(run: Serve, predictor: FakePredictor) -> None:
    image = png(51)
    running = run(predictor, max_upload_bytes=len(image), max_buffered_bytes=len(image))
    for _ in range(3):
        assert running.client.post("/v1/predict", content=image, headers=OCTETS).status_code == 200
    assert running.client.post("/v1/predict", content=image + b"x", headers=OCTETS).status_code == 413


@pytest.mark.parametrize("length", ["-1", "x", "1_0", "9" * 30, "+5"])
def test_wrong_content_length(run: Serve, predictor: FakePredictor, length: str) -> None:
    running = run(predictor)
    assert exchange(running.port, HEAD + f"Content-Length: {length}\r\nConnection: close\r\n\r\n")[0] in (400, 413)


def test_body_shorter_than_its_length_is_408(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, timeout_seconds=0.4)
    status, body = exchange(running.port, HEAD + "Content-Length: 500\r\n\r\n", b"abc")
    assert status == 408 and body["error"]["code"] == "body_too_slow"


def test_slow_body_is_408_and_the_connection_is_closed(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, timeout_seconds=0.4)
    parts: list[Any] = [HEAD + "Content-Length: 500\r\n\r\n"]
    for _ in range(6):
        parts += [b"a", 0.1]
    status, body = exchange(running.port, *parts)
    assert status == 408 and body["error"]["code"] == "body_too_slow"


def test_slow_headers_are_408(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, timeout_seconds=0.3)
    status, body = exchange(running.port, "POST /v1/predict HTTP/1.1\r\nHost: x\r\n")
    assert status == 408 and body["error"]["code"] == "headers_too_slow"
    parts: list[Any] = ["GET /v2 HTTP/1.1\r\n"]
    for _ in range(5):
        parts += ["A: b\r\n", 0.1]
    with pytest.raises(OSError):
        # It goes on although it was answered.
        exchange(running.port, *parts, 0.2, "B: c\r\n", 0.1, "B: c\r\n")
        raise OSError


def test_connection_that_sends_nothing_is_closed(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, timeout_seconds=0.3)
    assert exchange(running.port)[0] == 408


def test_late_prediction_is_504(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, timeout_seconds=0.3)
    predictor.gate.clear()
    response = running.client.post("/v1/predict", content=png(1), headers=OCTETS)
    predictor.gate.set()
    assert response.status_code == 504 and response.json()["error"]["code"] == "timeout"
    # On a busy machine the next one may be late as well.
    wait_until(lambda: running.client.post("/v1/predict", content=png(1), headers=OCTETS).status_code == 200)


def test_full_queue_is_429(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, max_queue=2)
    predictor.gate.clear()

    def post() -> Any:
        return running.client.post("/v1/predict", content=png(255), headers=OCTETS)

    with ThreadPoolExecutor(3) as pool:
        accepted = [pool.submit(post)]
        wait_until(lambda: predictor.batches)
        accepted += [pool.submit(post) for _ in range(2)]
        wait_until(lambda: len(running.service.store.get(None).batcher("predict")) == 2)
        refused = post()
        predictor.gate.set()
        assert [one.result().status_code for one in accepted] == [200, 200, 200]
    assert refused.status_code == 429 and refused.json()["error"]["code"] == "queue_full"
    assert int(refused.headers["retry-after"]) >= 1


def test_bodies_of_all_requests_have_a_limit(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, max_upload_bytes=3000, max_buffered_bytes=3000, timeout_seconds=5)
    with socket.create_connection(("127.0.0.1", running.port)) as slow:
        slow.sendall((HEAD + "Content-Length: 2500\r\n\r\n").encode() + bytes(2400))
        wait_until(lambda: running.service.metrics.buffered._value.get() == 2400)
        response = running.client.post("/v1/predict", content=bytes(1000), headers=OCTETS)
        assert response.status_code == 429 and response.json()["error"]["code"] == "too_many_uploads"
    wait_until(lambda: running.service.metrics.buffered._value.get() == 0)
    assert running.client.post("/v1/predict", content=png(1), headers=OCTETS).status_code == 200


def test_number_of_images_is_limited(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, max_images=2)
    files = [("image", png(1))] * 3
    for request_of in ({"files": files}, {"json": {"images": ["", "", ""]}}):
        response = running.client.post("/v1/predict", **request_of)
        assert response.status_code == 413 and response.json()["error"]["code"] == "too_many_images"
    assert running.client.post("/v1/predict", files=files[:2]).status_code == 200


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "ICO"])
def test_number_of_pixels_is_limited(run: Serve, predictor: FakePredictor, kind: str) -> None:
    running = run(predictor, max_pixels=600)
    encoded = [io.BytesIO(), io.BytesIO()]
    for file, size in zip(encoded, [(16, 16), (32, 32)]):
        Image.new("RGB", size).save(file, kind, **({"sizes": [size]} if kind == "ICO" else {}))
    small, large = (running.client.post("/v1/predict", content=file.getvalue(), headers=OCTETS) for file in encoded)
    assert small.status_code == 200
    assert large.status_code == 422 and "pixels" in large.json()["error"]["message"]
    assert "max_pixels" not in large.text


def test_client_that_disconnects_leaves_nothing(running: Running, predictor: FakePredictor) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall((HEAD + "Content-Length: 2500\r\n\r\n").encode() + bytes(2400))
        wait_until(lambda: running.service.metrics.buffered._value.get() == 2400)
    wait_until(lambda: running.service.metrics.buffered._value.get() == 0)
    assert predictor.batches == []


def test_client_that_does_not_read_holds_nothing(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, timeout_seconds=0.5)
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.setblocking(False)
        request = (HEAD + "Content-Length: 3\r\n\r\nabcGET /docs HTTP/1.1\r\nHost: x\r\n\r\n").encode()
        with pytest.raises(BlockingIOError):
            # Until neither side accepts more.
            for _ in range(10_000):
                connection.sendall(1000 * request)
        wait_until(lambda: running.service.metrics.in_progress._value.get() == 1)
        wait_until(lambda: running.service.metrics.in_progress._value.get() == 0)
    wait_until(lambda: running.service.metrics.buffered._value.get() == 0)


@pytest.mark.parametrize("head", ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nA" + 40_000 * "b" + "\r\n\r\n"])
def test_request_that_is_not_http_is_400(running: Running, head: str) -> None:
    status, body = exchange(running.port, head)
    assert status == 400 and body["error"]["code"] == "invalid_http"


def test_broken_chunks_are_400(running: Running) -> None:
    status, body = exchange(running.port, HEAD + "Transfer-Encoding: chunked\r\n\r\n", "zz\r\nabc\r\n")
    assert status == 400 and body["error"]["code"] == "invalid_http"
