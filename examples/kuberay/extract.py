"""Extract the features of all images of a bucket on a Ray cluster: the entry point of job.yaml.

    python extract.py s3://BUCKET/photos s3://BUCKET/features --workers 10

The same command after an interruption computes the missing shards. `--workers 0` runs in this process, without Ray.
"""

from __future__ import annotations

import argparse

import transferkit as tk


def main() -> None:
    """Extract the features and print their number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("--backbone", default="EfficientNetLite0")
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--cpus-per-worker", type=float, default=4)
    parser.add_argument("--shard-size", type=int, default=None)
    options = parser.parse_args()
    size = options.image_size
    backbone = tk.BackboneFactory.create(options.backbone, input_shape=(size, size, 3))
    engine = (
        tk.RayEngine(num_workers=options.workers, cpus_per_worker=options.cpus_per_worker) if options.workers else None
    )
    shards = tk.extract_features(
        options.source, backbone, out=options.out, engine=engine, shard_size=options.shard_size
    )
    print(f"{len(shards):,} images, {shards.num_errors:,} errors, shards by engine: {shards.engines}")


if __name__ == "__main__":
    main()
