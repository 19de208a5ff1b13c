"""A job on two Ray nodes of this machine: `python -m tests.sharding.ray_job IMAGES OUT VICTIM` prints a JSON line.

VICTIM is "none"; or "worker" or "node", which is killed while the job runs and not replaced by another node.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

# The nodes are bound to the loopback.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray.cluster_utils import Cluster

import transferkit as tk

_COMPLETE_BEFORE = 2


def main() -> None:
    """Run the job."""
    images, out, victim = sys.argv[1:]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    other = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    if victim != "none":
        threading.Thread(target=_kill, args=(victim, Path(out), cluster, other), daemon=True).start()
    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(160, 160, 3))
    started = time.monotonic()
    shards = tk.extract_features(images, backbone, out=out, shard_size=50, engine=tk.RayEngine(num_workers=2))
    print(json.dumps({"seconds": time.monotonic() - started, "shards": len(shards.files)}), flush=True)
    # Ending it in order would take longer than the job.
    os._exit(0)


def _kill(victim: str, out: Path, cluster: Cluster, other: object) -> None:
    while len(list(out.glob("*.parquet"))) < _COMPLETE_BEFORE:
        time.sleep(0.01)
    if victim == "node":
        cluster.remove_node(other, allow_graceful=False)
        return
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        # The name of the process of an actor, while it computes.
        if path.read_bytes().startswith(b"ray::_RayWorker.run"):
            os.kill(int(path.parent.name), signal.SIGKILL)
            return


if __name__ == "__main__":
    main()
