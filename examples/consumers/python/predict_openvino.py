"""Predict the class of photos with an OpenVINO model: python predict_openvino.py cats_dogs_openvino photo.jpg"""

import json
import sys
from pathlib import Path

from pixels import load_pixels

# OpenVINO sends usage data where it finds this package.
sys.modules["openvino_telemetry"] = None
import openvino


def main(folder, *photos):
    core, folder = openvino.Core(), Path(folder)
    model = core.read_model(folder / "model.xml")
    labels = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    spec = json.loads(model.get_rt_info(["transferkit", "metadata"]).astype(str))["image_spec"]
    # The settings in config.json keep processors with bfloat16 from computing in it.
    compiled = core.compile_model(model, "CPU", json.loads((folder / "config.json").read_text()))
    dtype = compiled.input(0).element_type.to_dtype()
    for photo in photos:
        pixels = load_pixels(photo, spec).astype(dtype)
        probabilities = compiled(pixels[None])["probabilities"][0]
        best = probabilities.argmax()
        print(f"{photo}: {labels[best]} {probabilities[best]:.7f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
