"""Flow-guided feature aggregation (Zhu et al., ICCV 2017) in front of the R-FCN heads."""

from __future__ import annotations

from pathlib import Path

from easydict import EasyDict

from lib.backends.mxnet.builtin import cosine, weigh
from lib.backends.mxnet.loader import mx
from lib.nets import params, sizes
from lib.nets.aggregation import embedding
from lib.nets.detection import detection_maps, detections, training_losses
from lib.nets.flownet import double_by_convolution, flow, flow_of_prepared, is_flow_layer, prepare
from lib.nets.onnx_graph import Part
from lib.nets.resnet import feature_map

EPS = 2e-5  # of BatchNorm; the baseline has another


def _features(data, cfg: EasyDict):
    return feature_map(data, sizes.backbone(cfg, EPS), cfg.network.FEAT_DIM, cfg.network.FEAT_DILATION)


def train_symbol(cfg: EasyDict):
    """Inputs data, data_bef, data_aft (1, 3, H, W), and those of R-FCN's training; outputs the same losses.

    The two neighbours are warped to the current frame, embedded after the warp, weighed by their cosine to the
    current frame's own embedding, and summed; the current frame's features do not take part in the sum.
    """
    current, before, after = (mx.sym.Variable(name) for name in ("data", "data_bef", "data_aft"))
    frames = mx.sym.concat(current, before, after, dim=0)
    features = _features(frames, cfg)
    own, neighbours = mx.sym.slice_axis(features, 0, 0, 1), mx.sym.slice_axis(features, 0, 1, 3)
    if cfg.TRAIN.WARP:
        motion = flow(mx.sym.concat(current, current, dim=0), mx.sym.concat(before, after, dim=0), sizes.flownet(cfg))
        neighbours = sizes.operators(cfg).warp(neighbours, motion)
    embedded = embedding(mx.sym.concat(own, neighbours, dim=0), cfg.network.EMBED_DIMS)
    similarity = cosine(mx.sym.slice_axis(embedded, 0, 1, 3), mx.sym.slice_axis(embedded, 0, 0, 1))
    return training_losses(weigh(neighbours, similarity), cfg)


def _embedded_features(cfg: EasyDict) -> tuple:
    """Input data (N, 3, H, W) -> features (N, FEAT_DIM, h, w), embedding (N, E, h, w)."""
    features = _features(mx.sym.Variable("data"), cfg)
    embedded = embedding(features, cfg.network.EMBED_DIMS)
    if cfg.TEST.WEIGHTS == "mean":  # the cosine with a zero vector is 0, so that all frames weigh the same
        embedded = mx.sym.zeros_like(embedded)
    return features, embedded


def feature_symbol(cfg: EasyDict):
    """Input data (N, 3, H, W); output conv_embed: features and embedding, in the layout that the ring keeps.

    That is (N, FGFA_FEAT_DIM, h, w) for MXNet's operators, (N, h, w, FGFA_FEAT_DIM) for the compiled ones.
    """
    both = mx.sym.concat(*_embedded_features(cfg), dim=1)
    return mx.sym.identity(sizes.operators(cfg).to_ring(both), name="conv_embed")


def _detections(ring, motion, order, cfg: EasyDict, windows: int, explain: bool = False):
    ops, frames = sizes.operators(cfg), window_frames(cfg)
    slots = mx.sym.reshape(order, (-1,))
    aggregated, weights = [], []
    for index in range(windows):
        span = (0, index * frames, (index + 1) * frames)
        found = ops.aggregate(
            ring,
            mx.sym.slice_axis(motion, *span),
            mx.sym.slice_axis(slots, *span),
            feature_channels=cfg.network.FEAT_DIM,
            current=cfg.TEST.KEY_FRAME_INTERVAL,
            name=f"aggregated{index}",
            with_weights=explain,
        )
        aggregated.append(found[0])
        if explain:
            weights.append(mx.sym.identity(found[1], name=f"weights{index}"))
    return mx.sym.Group(detections(mx.sym.concat(*aggregated, dim=0), cfg) + weights)


def image_symbol(cfg: EasyDict):
    """Input data (N, 3, H, W); output what the flow network takes of it, (N, 3, H / 2, W / 2), sizes rounded up."""
    return mx.sym.identity(prepare(mx.sym.Variable("data"), sizes.flownet(cfg)), name="image")


def flow_symbol(cfg: EasyDict):
    """Output flow (P, 2, h, w) in feature cells, from one image to another, with parameters `for_convolutions`.

    Inputs: image_cache (S, ...), a ring of what `image_symbol` gives; current, other (P,), slots of it.
    """
    images, current, other = _variables("image_cache", "current", "other")
    pairs = (mx.sym.take(images, slots) for slots in (current, other))
    motion = flow_of_prepared(*pairs, sizes.flownet(cfg), double=double_by_convolution)
    return mx.sym.identity(motion, name="flow")


def aggregation_symbol(cfg: EasyDict, windows: int = 1, explain: bool = False):
    """Detections of `windows` frames, each from the frames around it; `explain` adds the outputs weights<i>
    (F, 1, h, w) of window i.

    Inputs: feat_cache (S, ...), a ring of what `feature_symbol` gives; order (windows, F), its slots of each window's
    frames; flow (windows * F, 2, h, w), to each of them from the window's own frame; im_info (windows, 3).
    """
    return _detections(*_variables("feat_cache", "flow", "order"), cfg, windows, explain)


def detection_symbol(cfg: EasyDict):
    """Flow, aggregation and heads in one, the published test network, for one window.

    Inputs: data (1, 3, H, W), the frame itself; data_cache (S, 3, H, W), a ring of images; feat_cache, order (1, F) and
    im_info (1, 3), as for `aggregation_symbol`. Every frame of the window is warped by the flow from the frame itself,
    which is among them.
    """
    data, images, ring, order = _variables("data", "data_cache", "feat_cache", "order")
    current = mx.sym.repeat(data, repeats=window_frames(cfg), axis=0)
    motion = flow(current, mx.sym.take(images, mx.sym.reshape(order, (-1,))), sizes.flownet(cfg))
    return _detections(ring, motion, order, cfg, windows=1)


def _variables(*names: str):
    return map(mx.sym.Variable, names)


def window_frames(cfg: EasyDict) -> int:
    """Frames in a window: K before, the frame itself, and, unless `causal`, K after."""
    return cfg.TEST.KEY_FRAME_INTERVAL * (1 if cfg.TEST.causal else 2) + 1


def parameters(cfg: EasyDict) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Shapes by name of what the networks need to test with: (args, auxs)."""
    data, frames = (1, 3, *cfg.SCALES), window_frames(cfg)
    features = feature_symbol(cfg)
    _, (cells,), _ = features.infer_shape(data=data)
    args, auxs = params.shapes_of(features, data=data)
    rest, _ = params.shapes_of(
        detection_symbol(cfg),
        data=data,
        im_info=(1, 3),
        data_cache=(frames, *data[1:]),
        feat_cache=(frames, *cells[1:]),
        order=(1, frames),
    )
    return {**args, **{name: shape for name, shape in rest.items() if cfg.TEST.WARP or not is_flow_layer(name)}}, auxs


def read_parameters(cfg: EasyDict, weights: str | Path) -> tuple[dict, dict]:
    """A file's parameters to test with: (args, auxs). InputError: no such file, or weights of another network."""
    args, auxs = params.load(weights)
    args = params.for_test(args)
    if not cfg.TEST.WARP:  # weights with a flow network and without serve alike
        args = {name: value for name, value in args.items() if not is_flow_layer(name)}
    wanted_args, wanted_auxs = parameters(cfg)
    params.check({**args, **auxs}, {**wanted_args, **wanted_auxs}, str(weights))
    return args, auxs


def export_parts(cfg: EasyDict) -> dict[str, Part]:
    """The networks by the name of their ONNX file: all of FGFA but aggregation, proposals and pooling. No flow network
    where TEST.WARP is false.
    """
    net = cfg.network
    maps = zip(("features", "embedding"), _embedded_features(cfg))
    maps = mx.sym.Group([mx.sym.identity(symbol, name=name) for name, symbol in maps])
    motion = flow(mx.sym.Variable("current"), mx.sym.Variable("other"), sizes.flownet(cfg))
    heads = detection_maps(mx.sym.Variable("features"), cfg)
    parts = {
        "features": Part(maps, {"data": 3}, 1, "FGFA: pictures, RGB minus mean -> features, embedding"),
        "flow": Part(
            mx.sym.identity(motion, name="flow"),
            {"current": 3, "other": 3},
            1,
            "FGFA: pictures, RGB minus mean -> flow in feature cells, from current to other, x then y",
        ),
        "heads": Part(heads, {"features": net.FEAT_DIM}, net.RCNN_FEAT_STRIDE, "FGFA: aggregated features -> maps"),
    }
    return parts if cfg.TEST.WARP else {name: part for name, part in parts.items() if name != "flow"}
