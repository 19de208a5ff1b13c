// Predicts the class of a photo with an ONNX model. Both stay in the browser.
import * as ort from "onnxruntime-web";
import { readMetadata } from "../javascript/metadata.mjs";
import { toPixels } from "../javascript/pixels.mjs";

const [modelInput, photoInput, result] = ["model", "photo", "result"].map((id) => document.getElementById(id));
let model = null;

modelInput.addEventListener("change", () => {
  model = null;
  update();
});
photoInput.addEventListener("change", update);

async function update() {
  const [modelFile, photo] = [modelInput.files[0], photoInput.files[0]];
  if (!modelFile || !photo) return;
  result.textContent = "Computing ...";
  try {
    model ??= await load(modelFile);
    result.textContent = await predict(model, photo);
  } catch (error) {
    result.textContent = `Error: ${error.message ?? error}`;
  }
}

async function load(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  return { ...readMetadata(bytes), session: await ort.InferenceSession.create(bytes) };
}

async function predict({ labels, spec, session }, photo) {
  const pixels = toPixels(await decode(photo), spec, photo.type === "image/jpeg");
  const { type } = session.inputMetadata[0];
  const values = type === "uint8" ? new Uint8Array(pixels) : Float32Array.from(pixels);
  const image = new ort.Tensor(type, values, [1, ...spec.image_size, 3]);
  const { probabilities } = await session.run({ image });
  const best = probabilities.data.indexOf(Math.max(...probabilities.data));
  return `${labels[best]} ${probabilities.data[best].toFixed(7)}`;
}

// Return an image at its full size, upright and in sRGB. A canvas of the size of the model would resize it in another
// way than training.
async function decode(file) {
  const bitmap = await createImageBitmap(file);
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  return { data: context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}
