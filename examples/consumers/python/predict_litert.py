"""Predict the class of photos with a LiteRT model: python predict_litert.py cats_dogs.tflite photo.jpg"""

import json
import sys
import zipfile

from ai_edge_litert.interpreter import Interpreter
from pixels import load_pixels


def main(model, *photos):
    # The file of the model is also a ZIP archive.
    with zipfile.ZipFile(model) as archive:
        labels = archive.read("labels.txt").decode("utf-8").splitlines()
        spec = json.loads(archive.read("transferkit.json"))["image_spec"]
    run = Interpreter(model).get_signature_runner()
    dtype = run.get_input_details()["image"]["dtype"]
    for photo in photos:
        pixels = load_pixels(photo, spec).astype(dtype)
        probabilities = run(image=pixels[None])["probabilities"][0]
        best = probabilities.argmax()
        print(f"{photo}: {labels[best]} {probabilities[best]:.7f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
