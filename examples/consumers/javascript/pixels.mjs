// Resizes a decoded image as the classifier was trained on it, in Node and in browsers.
// An image is { data, width, height, channels }, with channels 3 (RGB) or 4 (RGBA without transparency).

// Return RGB bytes (height x width x 3) of the size in `spec`, which is "image_spec" in the metadata of the model.
export function toPixels(image, spec, isJpeg) {
  if (spec.interpolation !== "bilinear" || spec.antialias) {
    throw new Error("pixels.mjs resizes with bilinear interpolation without antialias only.");
  }
  const [height, width] = spec.image_size;
  let source = reduce(image, isJpeg ? reduction(image, spec) : 1);
  if (spec.resize === "crop") source = crop(source, height, width, spec.crop_fraction);
  return spec.resize === "pad" ? pad(source, height, width) : resize(source, height, width);
}

// Training decodes large JPEG files at 1/2, 1/4 or 1/8 of their size.
function reduction({ width, height }, spec) {
  if (spec.full_decode) return 1;
  const required = 2 * Math.floor(Math.max(...spec.image_size) / spec.crop_fraction);
  return [8, 4, 2].find((scale) => Math.floor(Math.min(width, height) / scale) >= required) ?? 1;
}

// Return the means of blocks of pixels as an RGB image: close to decoding at a reduced size, but not equal.
function reduce({ data, width, height, channels }, scale) {
  const [columns, rows] = [Math.ceil(width / scale), Math.ceil(height / scale)];
  const sums = new Uint32Array(columns * rows * 3);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at += channels) {
      const block = (Math.floor(row / scale) * columns + Math.floor(column / scale)) * 3;
      for (let color = 0; color < 3; color++) sums[block + color] += data[at + color];
    }
  }
  // Blocks at the right and lower edges may have fewer pixels.
  const length = (block, size) => Math.min(scale, size - block * scale);
  const mean = (sum, index) => {
    const block = Math.floor(index / 3);
    return sum / (length(Math.floor(block / columns), height) * length(block % columns, width));
  };
  return { data: Uint8ClampedArray.from(sums, mean), width: columns, height: rows };
}

function crop({ data, width, height }, newHeight, newWidth, fraction) {
  const rows = Math.max(1, roundHalfEven(Math.min(height, (width * newHeight) / newWidth) * fraction));
  const columns = Math.max(1, roundHalfEven(Math.min(width, (height * newWidth) / newHeight) * fraction));
  const [top, left] = [(height - rows) >> 1, (width - columns) >> 1];
  const kept = new Uint8ClampedArray(rows * columns * 3);
  for (let row = 0; row < rows; row++) {
    const start = ((top + row) * width + left) * 3;
    kept.set(data.subarray(start, start + columns * 3), row * columns * 3);
  }
  return { data: kept, width: columns, height: rows };
}

function pad(source, height, width) {
  const factor = Math.min(height / source.height, width / source.width);
  const rows = Math.max(1, roundHalfEven(source.height * factor));
  const columns = Math.max(1, roundHalfEven(source.width * factor));
  const resized = resize(source, rows, columns);
  const [top, left] = [(height - rows) >> 1, (width - columns) >> 1];
  const padded = new Uint8ClampedArray(height * width * 3);
  for (let row = 0; row < rows; row++) {
    const line = resized.subarray(row * columns * 3, (row + 1) * columns * 3);
    padded.set(line, ((top + row) * width + left) * 3);
  }
  return padded;
}

// Bilinear interpolation between the centers of pixels, in float32: the last bit decides how a value is rounded.
function resize({ data, width, height }, newHeight, newWidth) {
  const [rows, columns] = [neighbors(height, newHeight), neighbors(width, newWidth)];
  const between = (a, b, fraction) => Math.fround(a + Math.fround(Math.fround(b - a) * fraction));
  // This type of array rounds values, halves to even.
  const pixels = new Uint8ClampedArray(newHeight * newWidth * 3);
  let at = 0;
  for (const [top, bottom, down] of rows) {
    for (const [left, right, along] of columns) {
      for (let color = 0; color < 3; color++) {
        const value = (row, column) => data[(row * width + column) * 3 + color];
        const upper = between(value(top, left), value(top, right), along);
        const lower = between(value(bottom, left), value(bottom, right), along);
        pixels[at++] = between(upper, lower, down);
      }
    }
  }
  return pixels;
}

// Return the two source pixels of each new pixel, and its position between them.
function neighbors(size, newSize) {
  const ratio = Math.fround(size / newSize);
  return Array.from({ length: newSize }, (_, index) => {
    const position = Math.fround(Math.fround((index + 0.5) * ratio) - 0.5);
    const first = Math.floor(position);
    return [Math.max(first, 0), Math.min(Math.ceil(position), size - 1), Math.fround(position - first)];
  });
}

function roundHalfEven(value) {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}
