"""Serve a classifier: throughput of batched requests, latency, memory, and a shutdown under load.

    python benchmarks/serving.py --data IMAGES [--requests 2000] [--connections 50] [--rounds 3]

IMAGES is a folder with at least one JPEG image. The classifier is EfficientNet-Lite0 with a head that was not trained.
First the images are sent one after the other over one connection, then by many connections at once, with 5 % bad
uploads; the client shares the cores of the machine with the server. At the end, the server receives SIGTERM under load.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIZE = 160
# The fraction of bad uploads, and the statuses that they must have.
BAD, CLIENT_ERRORS = 0.05, {400, 413, 415, 422}


@dataclasses.dataclass(frozen=True)
class Upload:
    """A body with its type, and whether it is an image that can be read."""

    content_type: str
    body: bytes
    is_valid: bool


@dataclasses.dataclass(frozen=True)
class Response:
    """The status of an answered request, or None for a lost one, and its seconds."""

    status: int | None
    seconds: float
    is_valid: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    files = sorted(path for path in options.data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    images = [path.read_bytes() for path in files[:400]]
    with tempfile.TemporaryDirectory() as folder:
        classifier = Path(folder, "classifier")
        save_classifier(classifier)
        log = Path(folder, "access.log")
        results = asyncio.run(measure(start_server(classifier, log, options.engine), images, options))
        statuses = Counter(json.loads(line)["status"] for line in log.read_text().splitlines())
        results["logged"] = sum(statuses.values())
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


def save_classifier(folder: Path) -> None:
    import transferkit as tk
    from transferkit.prediction import Predictor
    from transferkit.saving import save_classifier as save

    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(SIZE, SIZE, 3))
    model = tk.build_classifier(backbone, tk.ClassifierHead(2))
    save(folder, Predictor(model, ["cats", "dogs"], tk.ImageSpec((SIZE, SIZE)), activation="sigmoid"))


def start_server(classifier: Path, log: Path, engine: str) -> tuple[subprocess.Popen[str], int]:
    """Return the process of the server and its port, when it listens."""
    command = [sys.executable, "-m", "transferkit", "serve", str(classifier), "--port", "0", "--engine", engine]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"Listening on http://[^:]+:(\d+)", line):
            return process, int(found[1])
    raise SystemExit("the server did not start")


async def measure(server: tuple[subprocess.Popen[str], int], images: list[bytes], options: Any) -> dict[str, Any]:
    process, port = server
    count, connections = options.requests, options.connections
    valid = [Upload("image/jpeg", image, True) for image in images]
    await send(port, itertools.islice(itertools.cycle(valid), 200), 8)
    results: dict[str, Any] = {"single": [], "rounds": [], "megabytes_before": megabytes(process.pid)}
    print(f"memory before: {results['megabytes_before']:,.0f} MB", flush=True)
    for number in range(options.rounds):
        # In turns, so that the load of the machine is the same.
        found = await send(port, itertools.islice(itertools.cycle(valid), count // 8), 1)
        results["single"].append(summary("one request at a time", *found))
        found = await send(port, uploads(images, count, random.Random(number)), connections)
        results["rounds"].append(summary(f"{connections} connections, {BAD:.0%} bad", *found))
        results["rounds"][-1]["megabytes"] = megabytes(process.pid)
        print(f"memory after round {number + 1}: {megabytes(process.pid):,.0f} MB", flush=True)
    load = asyncio.create_task(send(port, uploads(images, 10**9, random.Random(9)), connections, until_refused=True))
    await asyncio.sleep(2)
    started = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    responses, _ = await load
    status = await asyncio.to_thread(process.wait, 60)
    lost = sum(one.status is None for one in responses)
    results["term"] = {"status": status, "answered": len(responses) - lost, "lost": lost}
    seconds = time.perf_counter() - started
    print(f"SIGTERM under load: exit status {status} after {seconds:.1f} s, {lost} lost of {len(responses):,} requests")
    return results


def uploads(images: list[bytes], count: int, rng: random.Random) -> Iterator[Upload]:
    """Yield `count` uploads, of which a fraction is bad in one of several ways."""
    for _ in range(count):
        image = rng.choice(images)
        if rng.random() >= BAD:
            yield Upload("image/jpeg", image, True)
            continue
        yield rng.choice(
            [
                Upload("image/jpeg", image[: len(image) // 3], False),
                Upload("image/jpeg", b"<html>not found</html>", False),
                Upload("application/octet-stream", rng.randbytes(20_000), False),
                Upload("text/plain", image, False),
                Upload("application/json", b'{"image": "/etc/passwd"}', False),
                Upload("application/json", b"{", False),
                Upload("image/jpeg", bytes(21 << 20), False),
            ]
        )


async def send(
    port: int, requests: Iterator[Upload], connections: int, until_refused: bool = False
) -> tuple[list[Response], float]:
    """Send requests over several connections; return the responses and the seconds."""
    responses: list[Response] = []

    async def connection() -> None:
        reader = writer = None
        for upload in requests:
            started = time.perf_counter()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                # A connection that is refused was never accepted.
                if until_refused:
                    return
                raise
            assert reader is not None
            status, closes = await exchange(reader, writer, upload)
            responses.append(Response(status, time.perf_counter() - started, upload.is_valid))
            if closes:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(connections)))
    return responses, time.perf_counter() - started


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upload: Upload
) -> tuple[int | None, bool]:
    """Send one request; return the status, None when there is no response, and whether the connection is closed."""
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {upload.content_type}\r\n"
    try:
        writer.write(head.encode() + f"Content-Length: {len(upload.body)}\r\n\r\n".encode() + upload.body)
        # The response to a body that is too large comes before the body is sent.
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = re.search(r"content-length: (\d+)", lines)
        assert length is not None
        await reader.readexactly(int(length[1]))
        return int(lines.split()[1]), "connection: close" in lines
    except (OSError, asyncio.IncompleteReadError) as error:
        print(f"lost: {error!r}, {upload.content_type} of {len(upload.body):,} bytes", flush=True)
        return None, True


def summary(name: str, responses: list[Response], seconds: float) -> dict[str, Any]:
    """Print and return the throughput, the latencies, and the number of lost and of wrong responses."""
    statuses = Counter(one.status for one in responses)
    lost = statuses[None]
    wrong = sum(one.status not in ({200} if one.is_valid else CLIENT_ERRORS) for one in responses) - lost
    times = sorted(1000 * one.seconds for one in responses if one.status == 200)
    p50, p95, p99 = (times[min(len(times) - 1, int(len(times) * part))] for part in (0.5, 0.95, 0.99))
    rate = len(responses) / seconds
    print(
        f"{name}: {rate:,.0f} requests a second, p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms, {lost} lost, "
        f"{wrong} wrong, statuses {dict(sorted(statuses.items(), key=str))}",
        flush=True,
    )
    return {"rate": rate, "p50": p50, "p95": p95, "p99": p99, "lost": lost, "wrong": wrong}


def megabytes(process_id: int) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    main()
