// The layers of demo.py --explain: maps of flow, weights or scale, shown beside a frame or over it.
// A layer of a frame: [number of its kind, the frame that it belongs to, image, what its colours stand for].

function layersOf(clip, frame) {
  return clip.layers ? clip.layers[frame] : [];
}

// The frame at the chosen distance, or else the nearest, whose layers are shown; undefined where there are none.
function otherFrame(clip, frame) {
  const wanted = frame + state.distance, frames = layersOf(clip, frame).map((layer) => layer[1]);
  return frames.sort((a, b) => Math.abs(a - wanted) - Math.abs(b - wanted))[0];
}

function distance(from, to) {
  return to === from ? "this frame" : `${to > from ? "+" : "-"}${Math.abs(to - from)}`;
}

function shownLayers(clip, frame) {
  const other = otherFrame(clip, frame);
  return layersOf(clip, frame).filter((layer) => layer[1] === other);
}

function layerOver(clip, frame) {
  return shownLayers(clip, frame).find((layer) => String(layer[0]) === byId("layer").value);
}

function describe(layer, frame) {
  return `${data.layers[layer[0]]}, ${distance(frame, layer[1])}: ${layer[3]}`;
}

// The views beside the frame: the other frame, then its layers; grey where the frame has none.
function layerViews(clip, frame) {
  if (byId("layer").value !== "beside") return [];
  const other = otherFrame(clip, frame), shown = shownLayers(clip, frame);
  const named = other !== undefined && `frame ${clip.frames[other]}, ${distance(frame, other)}`;
  return [
    { caption: named || "no layers of this frame", layer: "frame", urls: [clip.images[other]] },
    ...data.layers.map((name, kind) => {
      const layer = shown.find((each) => each[0] === kind);
      return { caption: layer ? describe(layer, frame) : name, layer: name, urls: [undefined, layer && layer[2]] };
    }),
  ];
}

function listOthers(clip, frame) {
  const select = byId("other"), frames = [...new Set(layersOf(clip, frame).map((layer) => layer[1]))];
  select.replaceChildren();
  for (const other of frames) option(select, other, distance(frame, other));
  select.value = otherFrame(clip, frame);
  select.disabled = frames.length < 2;
}

function chooseOther(by) {
  const select = byId("other"), last = select.options.length - 1;
  if (last < 0) return;
  select.selectedIndex = Math.max(0, Math.min(select.selectedIndex + by, last));
  select.onchange();
}

function startLayers() {
  for (const each of document.querySelectorAll(".layers")) each.hidden = !data.layers.length;
  const select = byId("layer");
  option(select, "", "none");
  option(select, "beside", "beside the frame");
  data.layers.forEach((name, kind) => option(select, kind, `${name} over the frame`));
  select.onchange = draw;
  byId("other").onchange = () => {
    state.distance = Number(byId("other").value) - state.frame;
    draw();
  };
  if (data.layers.length) {
    select.value = "beside";
    state.frame = data.clips[0].layers.findIndex((layers) => layers.length);
  }
}

// A strip that shows which frames have layers, if not all have some.
function layerStrip(clip, area) {
  const frames = clip.frames.map((_, frame) => frame).filter((frame) => layersOf(clip, frame).length);
  if (!frames.length || frames.length === clip.frames.length) return;
  strip(clip, [{ label: "layers", cells: frames.map((frame) => [frame, true, ""]) }], "frames with layers", area);
}
