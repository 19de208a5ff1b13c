"use strict";
// Names come from the server and go into the page as text only.
const element = (id) => document.getElementById(id);
let latest = 0;

function headers(more) {
  const key = element("key").value;
  return key ? { Authorization: "Bearer " + key, ...more } : more;
}

async function call(path, options) {
  const response = await fetch(path, { ...options, headers: headers(options.headers || {}) });
  const body = await response.json();
  if (response.status === 401) {
    element("key-choice").hidden = false;
  }
  if (!response.ok) {
    throw new Error(body.error.message);
  }
  return body;
}

async function loadModels() {
  const selected = element("model").value;
  const { models } = await call("/v1/models", {});
  element("model").replaceChildren(...models.map((model) => new Option(model.name, model.name)));
  if (models.some((model) => model.name === selected)) {
    element("model").value = selected;
  }
  element("model-choice").hidden = models.length < 2;
  return models;
}

async function draw(canvas, blob, side) {
  const bitmap = await createImageBitmap(blob);
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
}

function blobOf(base64, type) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type });
}

function post(path, file) {
  const address = path + "?model=" + encodeURIComponent(element("model").value);
  return call(address, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
}

function titleOf(prediction) {
  if (!("value" in prediction)) return prediction.label + " " + prediction.probability.toFixed(3);
  const [value, low, high] = [prediction.value, prediction.low, prediction.high]
    .map((number) => number === null ? "" : Number(number.toPrecision(5)));
  return low === "" ? String(value) : value + " (" + low + " to " + high + ")";
}

function showPrediction(prediction) {
  element("label").textContent = titleOf(prediction);
  const notes = [];
  if (prediction.is_certain === false) notes.push("The probability is below the calibrated confidence.");
  if (prediction.in_distribution === false) notes.push("The image does not resemble the training images.");
  if (prediction.label_set) notes.push("Plausible classes: " + prediction.label_set.join(", "));
  element("notes").textContent = notes.join(" ");
  const best = Object.entries(prediction.probabilities || {}).sort((a, b) => b[1] - a[1]).slice(0, 10);
  element("probabilities").parentElement.hidden = best.length === 0;
  element("probabilities").replaceChildren(...best.map(([name, probability]) => {
    const row = document.createElement("tr");
    row.insertCell().textContent = name;
    const cell = row.insertCell();
    cell.className = "number";
    cell.textContent = probability.toFixed(4);
    return row;
  }));
}

async function showHeatMap(file, number) {
  const explanation = await post("/v1/explain", file);
  if (number !== latest) return;
  await draw(element("heat-map"), blobOf(explanation.heat_map_png, "image/png"), 480);
  element("heat-map-figure").hidden = false;
}

async function showNeighbors(file, number) {
  const { neighbors } = await post("/v1/neighbors", file);
  if (number !== latest) return;
  const figures = [];
  for (const neighbor of neighbors) {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    await draw(canvas, blobOf(neighbor.thumbnail, "image/jpeg"), 96);
    const caption = document.createElement("figcaption");
    caption.textContent = neighbor.label + ", similarity " + neighbor.similarity.toFixed(2);
    figure.append(canvas, caption);
    figures.push(figure);
  }
  element("neighbors").replaceChildren(...figures);
  element("neighbors-section").hidden = false;
}

async function classify(file) {
  const number = ++latest;
  element("error").textContent = "";
  element("heat-map-error").textContent = "";
  for (const id of ["result", "heat-map-figure", "neighbors-section"]) element(id).hidden = true;
  try {
    const models = await loadModels();
    const model = models.find((one) => one.name === element("model").value);
    const prediction = await post("/v1/predict", file);
    if (number !== latest) return;
    showPrediction(prediction);
    element("result").hidden = false;
    // Some formats are read by the server but not by the browser.
    await draw(element("photo"), file, 480).catch(() => { element("photo").width = 0; });
    const parts = [showHeatMap(file, number)];
    if (model.has_neighbors) parts.push(showNeighbors(file, number));
    const failed = (await Promise.allSettled(parts)).filter((one) => one.status === "rejected");
    if (number === latest) element("heat-map-error").textContent = failed.map((one) => one.reason.message).join(" ");
  } catch (error) {
    if (number === latest) element("error").textContent = error.message;
  }
}

const drop = element("drop");
element("file").addEventListener("change", () => {
  if (element("file").files.length) classify(element("file").files[0]);
});
drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) classify(event.dataTransfer.files[0]);
});
function start() {
  loadModels().then(() => { element("error").textContent = ""; }, (error) => { element("error").textContent = error.message; });
}
element("settings").addEventListener("submit", (event) => { event.preventDefault(); start(); });
start();
