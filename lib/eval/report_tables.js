"use strict";
// The tables of a report. All content is the JSON of lib/eval/report_data.py; names are only ever set as text.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const LINES = ["#2a8fd0", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
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

function table(content, parent) {
  const made = element("table", undefined, element("div", undefined, parent));
  made.parentNode.className = "scroll";
  element("caption", content.title, made);
  const head = element("tr", undefined, element("thead", undefined, made)), body = element("tbody", undefined, made);
  for (const text of content.columns) element("th", text, head).scope = "col";
  for (const row of content.rows) {
    const line = element("tr", undefined, body);
    row.forEach((text) => element("td", text, line));
  }
}

function curves(parent) {
  element("h2", "Precision over recall", parent);
  const names = element("p", undefined, parent), grid = element("div", undefined, parent);
  names.id = "names";
  grid.id = "curves";
  data.methods.forEach((name, m) => {
    const label = element("span", `━ ${name}  `, names);
    label.style.color = LINES[m % LINES.length];
  });
  for (const each of data.curves) {
    const figure = element("figure", undefined, grid);
    const svg = shape("svg", { viewBox: "-4 -4 108 108", role: "img" }, figure);
    shape("title", {}, svg).textContent = `precision over recall of ${each.class}`;
    shape("path", { d: "M0 0V100H100", fill: "none", stroke: "currentColor", "stroke-width": 0.6 }, svg);
    each.lines.forEach((line, m) => {
      const points = line.map(([x, y]) => `${(100 * x).toFixed(1)},${(100 - 100 * y).toFixed(1)}`).join(" ");
      shape("polyline", { points, fill: "none", stroke: LINES[m % LINES.length], "stroke-width": 1.6,
        "stroke-dasharray": m ? `${6 - m} ${m}` : "none" }, svg);
    });
    element("figcaption", each.class, figure);
  }
}

function tables(area) {
  element("h2", "Results", area);
  table(data.summary, area);
  curves(area);
  for (const section of data.sections) {
    const details = element("details", undefined, area);
    details.open = data.sections.length === 1;
    element("summary", section.name, details);
    section.tables.forEach((each) => table(each, details));
  }
}
