"use strict";
function value(row, column) {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
}
function compare(a, b) {
  const bothNumbers = typeof a === "number" && typeof b === "number";
  return bothNumbers ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
}
function sortBy(table, heading) {
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = table.tBodies[0], column = heading.cellIndex;
  const rows = Array.from(body.rows).sort((a, b) => compare(value(a, column), value(b, column)));
  body.append(...(ascending ? rows : rows.reverse()));
}
function filterRows(table, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of table.tBodies[0].rows) {
    const content = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => content.includes(word));
  }
}
function showTip(map, tip, circle, data) {
  const point = data[Number(circle.dataset.index)];
  tip.replaceChildren();
  if (point.image) tip.append(Object.assign(document.createElement("img"), { src: point.image, alt: "" }));
  tip.append(Object.assign(document.createElement("div"), { textContent: point.text }));
  const box = circle.getBoundingClientRect(), frame = map.getBoundingClientRect();
  tip.style.left = `${box.right - frame.left + 6}px`;
  tip.style.top = `${box.bottom - frame.top + 6}px`;
  tip.style.display = "block";
}
function colorMap(map, data, coloring) {
  const circles = map.querySelectorAll("circle");
  for (const circle of circles) circle.setAttribute("fill", coloring.colors[coloring.groups[Number(circle.dataset.index)]]);
  const legend = map.querySelector(".legend");
  legend.replaceChildren(...coloring.names.map((name, index) => {
    const entry = document.createElement("span"), mark = document.createElement("i");
    mark.style.background = coloring.colors[index];
    entry.append(mark, name);
    return entry;
  }));
}
for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    heading.querySelector("button").addEventListener("click", () => sortBy(table, heading));
  }
}
for (const input of document.querySelectorAll("input.filter")) {
  input.addEventListener("input", () => filterRows(document.getElementById(input.dataset.table), input.value));
}
for (const map of document.querySelectorAll(".map")) {
  const data = JSON.parse(map.querySelector("script").textContent);
  const tip = map.querySelector(".tip"), choice = map.querySelector("select");
  const recolor = () => colorMap(map, data.points, data.colorings[choice.selectedIndex]);
  choice.addEventListener("change", recolor);
  recolor();
  for (const circle of map.querySelectorAll("circle")) {
    circle.addEventListener("mouseenter", () => showTip(map, tip, circle, data.points));
    circle.addEventListener("mouseleave", () => { tip.style.display = "none"; });
  }
}
