// The clip browser of a report.
// Colours of Okabe and Ito, which colour-blind readers can tell apart; dashes and words repeat what colours say.
const STYLES = {
  true: ["#009e73", []], classification: ["#0072b2", [8, 3]], localisation: ["#e69f00", [8, 3]],
  both: ["#f0e442", [8, 3]], duplicate: ["#cc79a7", [2, 3]], background: ["#56b4e9", [2, 3]],
  missed: ["#d55e00", [5, 5]], found: ["#009e73", []], detection: ["#56b4e9", []],
};
const state = { clip: 0, frame: 0, distance: -1, timer: null, drawn: 0 };

function option(select, value, text) {
  element("option", text, select).value = value;
}

function sorted() {
  const [a, b] = methods();
  const order = data.clips.map((_, number) => number);
  const f1 = (number, method) => data.clips[number].f1[method];
  const keys = {
    worst: (x, y) => f1(x, a) - f1(y, a),
    gain: (x, y) => (f1(y, b) - f1(y, a)) - (f1(x, b) - f1(x, a)),
    name: (x, y) => (data.clips[x].name < data.clips[y].name ? -1 : 1),
  };
  return order.sort(data.truth ? keys[byId("sort").value] : keys.name);
}

function methods() {
  const second = byId("second").value;
  return [Number(byId("first").value), second === "" ? Number(byId("first").value) : Number(second)];
}

function shownMethods() {
  return byId("second").value === "" ? [methods()[0]] : methods();
}

function listClips() {
  const select = byId("clip");
  select.replaceChildren();
  const [a, b] = methods();
  for (const number of sorted()) {
    const clip = data.clips[number];
    const f1 = data.truth ? shownMethods().map((m) => Math.round(100 * clip.f1[m])).join(" / ") : "";
    option(select, number, f1 ? `${clip.name} (F1 ${f1})` : clip.name);
  }
  select.value = state.clip;
}

function least() {
  return Number(byId("score").value);
}

function kindName(detection) {
  return data.truth ? data.kinds[detection[6]] : "detection";
}

// The boxes of one view: [class, x1, y1, x2, y2, style, label].
function objectBoxes(clip, frame) {
  const wanted = byId("class").value, kind = byId("kind").value, boxes = [];
  for (const object of clip.objects[frame]) {
    if (wanted !== "" && object[0] !== Number(wanted)) continue;
    const found = shownMethods().some((m) => object[6 + m] >= Math.max(least(), 0));
    const style = found ? "found" : "missed";
    if (kind === "missed" && found) continue;
    const track = object[5] >= 0 ? ` ${object[5]}` : "";
    boxes.push([...object.slice(0, 5), style, `${data.classes[object[0]]}${track}${found ? "" : " missed"}`]);
  }
  return boxes;
}

function detectionBoxes(clip, frame, method) {
  const wanted = byId("class").value, kind = byId("kind").value, boxes = [];
  for (const found of clip.detections[method][frame]) {
    if (found[1] < least() || (wanted !== "" && found[0] !== Number(wanted))) continue;
    const name = kindName(found);
    if (kind !== "" && kind !== name) continue;
    const track = !data.truth && found[7] >= 0 ? ` ${found[7]}` : "";
    const why = name === "true" || name === "detection" ? "" : ` ${name}`;
    boxes.push([found[0], ...found.slice(2, 6), name, `${data.classes[found[0]]}${track} ${found[1].toFixed(2)}${why}`]);
  }
  return boxes;
}

function load(url) {
  return new Promise((done) => {
    const picture = new Image();
    picture.onload = () => done(picture);
    picture.onerror = () => done(null);
    if (url) picture.src = url;
    else done(null);
  });
}

// Paints a picture, a layer over it and boxes; the first two may be null.
function paint(canvas, clip, [picture, layer], boxes) {
  const dots = window.devicePixelRatio || 1, scale = (canvas.clientWidth * dots || clip.width) / clip.width;
  canvas.width = Math.round(clip.width * scale);
  canvas.height = Math.round(clip.height * scale);
  const pen = canvas.getContext("2d");
  if (picture) pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (layer) {
    pen.globalAlpha = picture ? 0.6 : 1;
    pen.drawImage(layer, 0, 0, canvas.width, canvas.height);
    pen.globalAlpha = 1;
  }
  pen.lineWidth = 2 * dots;
  pen.font = `${12 * dots}px sans-serif`;
  pen.textBaseline = "bottom";
  for (const [, x1, y1, x2, y2, style, label] of boxes) {
    const [colour, dashes] = STYLES[style];
    pen.strokeStyle = colour;
    pen.setLineDash(dashes.map((dash) => dash * dots));
    pen.strokeRect(x1 * scale, y1 * scale, (x2 - x1 + 1) * scale, (y2 - y1 + 1) * scale);
    const height = 15 * dots, width = pen.measureText(label).width + 6;
    const left = Math.max(0, Math.min(x1 * scale, canvas.width - width)), bottom = Math.max(height, y1 * scale);
    pen.fillStyle = "rgba(0, 0, 0, 0.72)";
    pen.fillRect(left, bottom - height, width, height);
    pen.fillStyle = "#fff";
    pen.fillText(label, left + 3, bottom);
  }
}

function draw() {
  const clip = data.clips[state.clip], frame = state.frame, turn = ++state.drawn;
  const over = layerOver(clip, frame), urls = [clip.images[frame], over && over[2]], views = [];
  const add = (title, boxes, what) => {
    const count = `${title}: ${boxes.length} ${what}${boxes.length === 1 ? "" : "s"}`;
    views.push({ caption: over ? `${count}; ${describe(over, frame)}` : count, boxes, urls });
  };
  if (data.truth) add("Ground truth", objectBoxes(clip, frame), "object");
  for (const m of shownMethods()) add(data.methods[m], detectionBoxes(clip, frame, m), "detection");
  views.push(...layerViews(clip, frame));
  const figures = [...byId("views").children];
  while (figures.length < views.length) {
    const figure = element("figure", undefined, byId("views"));
    element("canvas", undefined, figure).setAttribute("role", "img");
    element("figcaption", undefined, figure);
    figures.push(figure);
  }
  figures.splice(views.length).forEach((figure) => figure.remove());
  const pictures = new Map([...new Set(views.flatMap((view) => view.urls))].map((url) => [url, load(url)]));
  views.forEach(({ caption, boxes, layer, urls }, number) => {
    const figure = figures[number], [canvas, text] = figure.children;
    text.textContent = caption;
    canvas.setAttribute("aria-label", boxes ? boxes.map((box) => box[6]).join(", ") || "no boxes" : caption);
    delete figure.dataset[boxes ? "layer" : "boxes"];
    figure.dataset[boxes ? "boxes" : "layer"] = boxes ? boxes.length : layer;
    Promise.all(urls.map((url) => pictures.get(url))).then((shown) => {
      // Pictures may arrive after the next frame was chosen.
      if (turn === state.drawn) paint(canvas, clip, shown, boxes || []);
    });
  });
  listOthers(clip, frame);
  byId("frame").max = clip.frames.length - 1;
  byId("frame").value = frame;
  byId("least").textContent = least().toFixed(2);
  const missing = clip.images[frame] ? "" : ", picture left out";
  byId("where").textContent = `frame ${clip.frames[frame]}, ${frame + 1} of ${clip.frames.length}${missing}`;
  byId("link").href = `#clip=${encodeURIComponent(clip.name)}&frame=${frame}`;
  for (const line of document.querySelectorAll("#strips line")) {
    line.setAttribute("x1", frame + 0.5);
    line.setAttribute("x2", frame + 0.5);
  }
}

// Rows of a strip: {label, cells: [frame, whether found, text]} of each object, or without truth of each track.
function stripRows(clip, method) {
  const rows = new Map(), wanted = byId("class").value;
  const add = (key, label, cell) => {
    if (!rows.has(key)) rows.set(key, { label, cells: [] });
    rows.get(key).cells.push(cell);
  };
  clip.frames.forEach((_, frame) => {
    for (const each of data.truth ? clip.objects[frame] : clip.detections[method][frame]) {
      const track = each[data.truth ? 5 : 7];
      if (track < 0 || (wanted !== "" && each[0] !== Number(wanted))) continue;
      const score = each[data.truth ? 6 + method : 1];
      if (!data.truth && score < least()) continue;
      const found = score >= Math.max(least(), 0);
      add(track, `${data.classes[each[0]]} ${track}`, [frame, found, found ? ": found" : ": missed"]);
    }
  });
  return [...rows.values()];
}

function strips() {
  const clip = data.clips[state.clip], area = byId("strips");
  area.replaceChildren();
  for (const method of shownMethods()) {
    const rows = stripRows(clip, method);
    if (!rows.length) continue;
    strip(clip, rows, `${data.methods[method]}, from top: ${rows.map((row) => row.label).join(", ")}`, area);
  }
  layerStrip(clip, area);
}

function strip(clip, rows, caption, area) {
  const figure = element("figure", undefined, area);
  const size = `0 0 ${clip.frames.length} ${rows.length}`;
  const svg = shape("svg", { viewBox: size, preserveAspectRatio: "none" }, figure);
  svg.style.height = `${rows.length * 0.8}rem`;
  rows.forEach((row, y) => {
    for (const [frame, found, text] of row.cells) {
      const cell = shape("rect", { x: frame, y: y + (found ? 0.1 : 0.4), width: 1.02, height: found ? 0.8 : 0.2,
        fill: STYLES[found ? "found" : "missed"][0] }, svg);
      shape("title", {}, cell).textContent = `${row.label}, frame ${clip.frames[frame]}${text}`;
    }
  });
  shape("line", { y1: 0, y2: rows.length, stroke: "currentColor", "stroke-width": 2,
    "vector-effect": "non-scaling-stroke" }, svg);
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    go(Math.floor(((event.clientX - box.left) / box.width) * clip.frames.length));
  });
  element("figcaption", caption, figure);
}

function go(frame) {
  const last = data.clips[state.clip].frames.length - 1;
  state.frame = Math.max(0, Math.min(frame, last));
  draw();
}

function choose(clip, frame) {
  state.clip = clip;
  byId("clip").value = clip;
  state.frame = 0;
  strips();
  go(frame);
}

function play(on) {
  clearInterval(state.timer);
  state.timer = on ? setInterval(() => {
    go((state.frame + 1) % data.clips[state.clip].frames.length);
  }, 100) : null;
  byId("play").textContent = on ? "Pause" : "Play";
}

function step(by) {
  const order = sorted();
  choose(order[(order.indexOf(state.clip) + by + order.length) % order.length], 0);
}

function follow() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const clip = data.clips.findIndex((each) => each.name === wanted.get("clip"));
  if (clip >= 0) choose(clip, Number(wanted.get("frame")) || 0);
  return clip >= 0;
}

function start() {
  byId("notes").textContent = data.notes.join("\n");
  document.body.classList.toggle("plain", !data.truth);
  data.methods.forEach((name, m) => {
    option(byId("first"), m, name);
    option(byId("second"), m, name);
  });
  option(byId("second"), "", "none");
  byId("second").value = data.methods.length > 1 ? 1 : "";
  for (const id of ["first", "second"]) byId(id).parentNode.hidden = data.methods.length < 2;
  data.classes.forEach((name, c) => option(byId("class"), c, name));
  data.kinds.forEach((name) => option(byId("kind"), name, name));
  byId("score").value = data.score;
  for (const name of data.kinds) {
    const entry = element("span", undefined, byId("legend")), line = element("i", undefined, entry);
    line.style.borderColor = STYLES[name][0];
    line.style.borderTopStyle = { 0: "solid", 2: "dotted" }[STYLES[name][1][0] || 0] || "dashed";
    entry.append(name);
  }
  startLayers();
  byId("clip").onchange = (event) => choose(Number(event.target.value), 0);
  byId("sort").onchange = () => { listClips(); choose(sorted()[0], 0); };
  for (const id of ["first", "second"]) byId(id).onchange = () => { listClips(); strips(); draw(); };
  for (const id of ["class", "kind", "score"]) byId(id).oninput = () => { strips(); draw(); };
  byId("frame").oninput = (event) => go(Number(event.target.value));
  byId("play").onclick = () => play(state.timer === null);
  byId("controls").onsubmit = (event) => event.preventDefault();
  window.onhashchange = () => {
    if (follow()) byId("browser").scrollIntoView();
  };
  window.onresize = draw;
  document.onkeydown = (event) => {
    if (event.target.closest("select, input, summary") || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === " " && event.target.closest("button, a")) return;
    const last = data.clips[state.clip].frames.length - 1;
    const keys = {
      ArrowLeft: () => go(state.frame - 1), ArrowRight: () => go(state.frame + 1),
      Home: () => go(0), End: () => go(last), " ": () => play(state.timer === null),
      n: () => step(1), p: () => step(-1), ",": () => chooseOther(-1), ".": () => chooseOther(1),
    };
    const act = keys[event.key.length > 1 ? event.key : event.key.toLowerCase()];
    if (act) { event.preventDefault(); act(); }
  };
  listClips();
  if (!follow()) choose(sorted()[0], state.frame);
  if (data.truth) tables(byId("tables"));
}

start();
