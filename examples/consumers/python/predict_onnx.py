"""Predict the class of photos with an ONNX model: python predict_onnx.py cats_dogs.onnx photo.jpg"""

import json
import os
import sys

from pixels import load_pixels

# ONNX Runtime reads this variable when it is imported, and otherwise writes usage data into the home folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}


def main(model, *photos):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    labels = metadata["labels"].splitlines()
    spec = json.loads(metadata["transferkit"])["image_spec"]
    dtype = DTYPES[session.get_inputs()[0].type]
    for photo in photos:
        pixels = load_pixels(photo, spec).astype(dtype)
        probabilities = session.run(["probabilities"], {"image": pixels[None]})[0][0]
        best = probabilities.argmax()
        print(f"{photo}: {labels[best]} {probabilities[best]:.7f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
