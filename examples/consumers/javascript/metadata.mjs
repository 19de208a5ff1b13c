// Reads class names and the image spec out of a .onnx file; ONNX Runtime for JavaScript has no function for it.

const text = new TextDecoder();

// Return { labels, spec } of the contents of a .onnx file.
export function readMetadata(bytes) {
  const properties = propertiesOf(bytes);
  return {
    labels: properties.labels.split("\n").slice(0, -1),
    spec: JSON.parse(properties.transferkit).image_spec,
  };
}

// A .onnx file is a protocol buffer, whose field 14 has pairs of a key (field 1) and a value (field 2).
function propertiesOf(bytes) {
  const properties = {};
  for (const [field, value] of fields(bytes)) {
    if (field !== 14) continue;
    const pair = Object.fromEntries(fields(value));
    properties[text.decode(pair[1])] = text.decode(pair[2]);
  }
  return properties;
}

// Yield [number, bytes] of each field of a protocol buffer that has a length.
function* fields(bytes) {
  let at = 0;
  const integer = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = integer();
    const [field, type] = [tag >>> 3, tag & 7];
    if (type === 0) integer();
    else if (type === 2) {
      const length = integer();
      yield [field, bytes.subarray(at, (at += length))];
    } else at += type === 1 ? 8 : 4;
  }
}
