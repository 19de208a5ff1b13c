// Predict the class of photos with an ONNX model: node node/predict.mjs cats_dogs.onnx photo.jpg
import { readFile } from "node:fs/promises";
import sharp from "sharp";
import { readMetadata } from "../javascript/metadata.mjs";
import { toPixels } from "../javascript/pixels.mjs";

// ONNX Runtime reads this variable when it is imported, and otherwise writes usage data into the home folder.
process.env.ORT_DISABLE_TELEMETRY = "1";
const { InferenceSession, Tensor } = await import("onnxruntime-node");

const [model, ...photos] = process.argv.slice(2);
const { labels, spec } = readMetadata(await readFile(model));
const session = await InferenceSession.create(model);
const { type } = session.inputMetadata[0];

for (const photo of photos) {
  const { format } = await sharp(photo).metadata();
  // Upright, in sRGB, transparent parts on white.
  const upright = sharp(photo).autoOrient().flatten({ background: "white" }).toColourspace("srgb");
  const { data, info } = await upright.raw().toBuffer({ resolveWithObject: true });
  const pixels = toPixels({ data, ...info }, spec, format === "jpeg");
  const values = type === "uint8" ? new Uint8Array(pixels) : Float32Array.from(pixels);
  const image = new Tensor(type, values, [1, ...spec.image_size, 3]);
  const { probabilities } = await session.run({ image });
  const best = probabilities.data.indexOf(Math.max(...probabilities.data));
  console.log(`${photo}: ${labels[best]} ${probabilities.data[best].toFixed(7)}`);
}
