"""SIGTERM: what was accepted is finished, and the exit status is that of success."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.fakes import png
from tests.waiting import TIMEOUT, at_once, wait_until

OCTETS = {"content-type": "application/octet-stream"}
ROOT = Path(__file__).parents[2]


class Process:
    """The command in a process, with its address."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder.parent / "access.log"
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "tests.serving.slow_server", str(folder), "--port", "0", *options],
                stdout=log,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
        assert self.popen.stderr is not None
        line = next(line for line in self.popen.stderr if "Listening" in line)
        self.url = re.findall(r"http://\S+", line)[0]
        self.port = int(self.url.rpartition(":")[2])

    def end(self, sig: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit status."""
        self.popen.send_signal(sig)
        return self.popen.wait(TIMEOUT)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started = []

    def start(seconds: float, *options: str) -> Process:
        folder = tmp_path / "gray"
        folder.mkdir()
        (folder / "transferkit.json").write_text(str(seconds))
        started.append(Process(folder, *options))
        return started[-1]

    yield start
    for process in started:
        process.popen.kill()
        process.popen.communicate()


def test_term_under_load_loses_nothing(start: Callable[..., Process]) -> None:
    process = start(0.02)
    outcomes: list[Any] = []
    stop = threading.Event()

    def load(keep_alive: bool) -> None:
        headers = OCTETS if keep_alive else {**OCTETS, "connection": "close"}
        with httpx.Client(base_url=process.url, timeout=TIMEOUT, trust_env=False) as client:
            while not stop.is_set():
                try:
                    response = client.post("/v1/predict", content=png(255), headers=headers)
                except httpx.ConnectError:
                    outcomes.append("refused")
                    return
                except httpx.HTTPError as error:
                    outcomes.append(type(error).__name__)
                    return
                outcomes.append(response.status_code)

    threads = [threading.Thread(target=load, args=(bool(number % 4),)) for number in range(24)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(outcomes) > 60)
    status = process.end()
    stop.set()
    for thread in threads:
        thread.join()
    counts = Counter(outcomes)
    assert status == 0 and counts[200] > 60
    assert set(counts) <= {200, "refused"}, counts
    entries = [json.loads(line) for line in process.log.read_text().splitlines()]
    assert Counter(entry["status"] for entry in entries) == {200: counts[200]}


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_idle_server_ends_at_once(start: Callable[..., Process], sig: int) -> None:
    process = start(0, "--timeout-seconds", f"{TIMEOUT:g}")
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{process.url}/v2/health/live").status_code == 200
        # The connection is open and idle.
        with at_once():
            assert process.end(sig) == 0


def test_upload_in_progress_is_finished(start: Callable[..., Process]) -> None:
    process = start(0)
    image = png(255)
    head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(image)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", process.port), timeout=TIMEOUT) as connection:
        connection.sendall(head.encode() + image[:20])
        time.sleep(0.3)
        process.popen.send_signal(signal.SIGTERM)
        time.sleep(1)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", process.port), timeout=TIMEOUT)
        connection.sendall(image[20:])
        answer = b""
        while received := connection.recv(65536):
            answer += received
    assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer
    assert process.popen.wait(TIMEOUT) == 0


def test_shutdown_is_bounded_by_the_timeout(start: Callable[..., Process]) -> None:
    process = start(TIMEOUT, "--timeout-seconds", "1")
    answers = []

    def post() -> None:
        with httpx.Client(base_url=process.url, timeout=TIMEOUT, trust_env=False) as client:
            answers.append(client.post("/v1/predict", content=png(1), headers=OCTETS))

    thread = threading.Thread(target=post)
    thread.start()
    time.sleep(0.3)
    with at_once():
        assert process.end() == 0
    thread.join()
    assert answers[0].status_code == 504
