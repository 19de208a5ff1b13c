"""Write the predictions of many images to a file: memory, throughput, and continuation after kills.

    python benchmarks/predict_to.py --data IMAGES [--images 20000] [--kills 3]

IMAGES is a folder with at least one image; copies of its images, which differ in their last bytes, make a folder of the
requested size.
The classifier is EfficientNet-Lite0 with a head that was not trained. The time is compared with that of decoding and
running the engine without writing, in one run; the file after several kills with that of an unbroken run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIZE = 160


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(*options.write)
        return
    with tempfile.TemporaryDirectory() as folder:
        images, classifier = Path(folder, "images"), Path(folder, "classifier")
        copy_images(options.data, images, options.images)
        save_classifier(classifier)
        unbroken = run(classifier, images, Path(folder, "unbroken.csv"))
        print(f"memory after each tenth of the images: {', '.join(f'{mb:,.0f}' for mb in unbroken['megabytes'])} MB")
        ratio = unbroken["seconds"] / unbroken["reference_seconds"]
        print(
            f"{options.images / unbroken['seconds']:,.0f} images a second, {ratio:.2f} times decoding and engine alone"
        )
        killed = Path(folder, "killed.csv")
        kills = run_with_kills(classifier, images, killed, options.kills, unbroken["seconds"])
        equal = killed.read_bytes() == Path(folder, "unbroken.csv").read_bytes()
        print(f"killed {kills} times: the file is {'equal' if equal else 'different'}")


def copy_images(source: Path, target: Path, count: int) -> None:
    """Write `count` different files: the images of `source` with some bytes after their end."""
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    target.mkdir()
    for index, path in zip(range(count), itertools.cycle(files)):
        (target / f"{index:06d}{path.suffix}").write_bytes(path.read_bytes() + index.to_bytes(4, "big"))


def save_classifier(folder: Path) -> None:
    import transferkit as tk
    from transferkit.prediction import Predictor
    from transferkit.saving import save_classifier as save

    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(SIZE, SIZE, 3))
    model = tk.build_classifier(backbone, tk.ClassifierHead(2))
    save(folder, Predictor(model, ["cats", "dogs"], tk.ImageSpec((SIZE, SIZE)), activation="sigmoid"))


def run(classifier: Path, images: Path, path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--data", ".", "--write", str(classifier), str(images), str(path)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def run_with_kills(classifier: Path, images: Path, path: Path, kills: int, seconds: float) -> int:
    command = [sys.executable, __file__, "--data", ".", "--write", str(classifier), str(images), str(path)]
    killed = 0
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            partial = path.with_name(f"{path.name}.partial")
            while not partial.exists():
                time.sleep(0.1)
            time.sleep(seconds / (kills + 1) * random.uniform(0.5, 0.9))
            killed += process.poll() is None
            process.send_signal(signal.SIGKILL)
    run(classifier, images, path)
    return killed


def write(classifier: str, images: str, path: str) -> None:
    """Write the predictions; print the seconds, those of decoding and engine alone, and the memory over time."""
    import transferkit as tk

    predictor = tk.load(classifier)
    files = sorted(str(file) for file in Path(images).iterdir())
    predictor.predict(files[:64])
    megabytes: list[float] = []
    finished = threading.Event()
    partial = Path(f"{path}.partial")

    def watch() -> None:
        lines = 0
        while not finished.wait(0.2):
            if partial.exists():
                lines = partial.read_bytes().count(b"\n")
            if lines >= len(files) * (len(megabytes) + 1) / 10:
                megabytes.append(resident_megabytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    predictor.predict_to(images, path)
    seconds = time.perf_counter() - started
    finished.set()
    watcher.join()
    print(
        json.dumps(
            {"seconds": seconds, "reference_seconds": reference_seconds(predictor, files), "megabytes": megabytes}
        )
    )


def reference_seconds(predictor: Any, files: list[str]) -> float:
    """Return the seconds of decoding all files, then running the engine on all images, each on all cores."""
    import numpy as np

    from transferkit._utils.parallel import ordered_map
    from transferkit.engines import compile_engine
    from transferkit.images.loading import load_images

    engine = compile_engine(predictor.model, count=len(files))
    chunks = [files[start : start + 64] for start in range(0, len(files), 64)]
    started = time.perf_counter()
    for batch in ordered_map(lambda chunk: np.stack(load_images(chunk, predictor.image_spec)), chunks):
        engine(batch)
    return time.perf_counter() - started


def resident_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    main()
