"use strict";
// The tables of a report. All content is the JSON of lib/eval/report_data.py; names are only ever set as text.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const LINES = [["#2a8fd0", "none"], ["#d55e00", "6 2"], ["#009e73", "2 2"], ["#cc79a7", "8 2 2 2"], ["#e69f00", "4 4"],
  ["#56b4e9", "1 3"]];
const SVG = "http://www.w3.org/2000/svg";

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function shape(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

// The clip that the first cell of a row names, alone or before the number of a track.
function clipOf(text) {
  const names = [text, text.replace(/ \S+$/, "")];
  return names.find((name) => data.clips.some((clip) => clip.name === name));
}

function table(content, parent) {
  const made = element("table", undefined, element("div", undefined, parent));
  made.parentNode.className = "scroll";
  element("caption", content.title, made);
  const head = element("tr", undefined, element("thead", undefined, made)), body = element("tbody", undefined, made);
  for (const text of content.columns) element("th", text, head).scope = "col";
  for (const row of content.rows) {
    const line = element("tr", undefined, body), numbers = row.slice(1).map(Number);
    const clip = clipOf(row[0]), sum = numbers.reduce((a, b) => a + b, 0);
    const first = element("td", clip === undefined ? row[0] : undefined, line);
    if (clip !== undefined) element("a", row[0], first).href = `#clip=${encodeURIComponent(clip)}`;
    row.slice(1).forEach((text, column) => {
      const cell = element("td", text, line);
      if (content.matrix && sum) cell.style.background = `rgba(42, 143, 208, ${(0.6 * numbers[column]) / sum})`;
    });
  }
}

function sample(m, parent) {
  const svg = shape("svg", { viewBox: "0 0 24 6", width: 24, height: 6 }, parent);
  shape("path", { d: "M0 3H24", ...stroke(m) }, svg);
}

function stroke(m) {
  const [colour, dashes] = LINES[m % LINES.length];
  return { fill: "none", stroke: colour, "stroke-width": 1.8, "stroke-dasharray": dashes };
}

function curves(parent) {
  element("h2", "Precision over recall", parent);
  const hint = "Recall to the right, precision up, both from 0 to 1; below, the average precision in %.";
  element("p", hint, parent).className = "hint";
  const names = element("p", undefined, parent), grid = element("div", undefined, parent);
  names.id = "names";
  grid.id = "curves";
  data.methods.forEach((name, m) => {
    const label = element("span", undefined, names);
    sample(m, label);
    label.append(name);
  });
  for (const each of data.curves) {
    const figure = element("figure", undefined, grid);
    const svg = shape("svg", { viewBox: "-4 -4 108 108", role: "img" }, figure);
    shape("title", {}, svg).textContent = `precision over recall of ${each.class}`;
    shape("path", { d: "M0 50H100M50 0V100", stroke: "currentColor", "stroke-width": 0.2 }, svg);
    shape("path", { d: "M0 0V100H100", fill: "none", stroke: "currentColor", "stroke-width": 0.6 }, svg);
    each.lines.forEach((line, m) => {
      const points = line.map(([x, y]) => `${(100 * x).toFixed(1)},${(100 - 100 * y).toFixed(1)}`).join(" ");
      shape("polyline", { points, ...stroke(m) }, svg);
    });
    element("figcaption", `${each.class}: ${each.ap.map((ap) => (100 * ap).toFixed(1)).join(" / ")}`, figure);
  }
}

function tables(area) {
  element("h2", "Results", area);
  const flow = (parent, contents) => {
    const group = element("div", undefined, parent);
    group.className = "tables";
    contents.forEach((each) => table(each, group));
  };
  flow(area, data.summary);
  curves(area);
  element("h2", "Each method", area);
  for (const section of data.sections) {
    const details = element("details", undefined, area);
    details.open = data.sections.length === 1;
    element("summary", section.name, details);
    flow(details, section.tables);
  }
}
