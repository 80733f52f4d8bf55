"""Flow-guided feature aggregation (Zhu et al., ICCV 2017) in front of the R-FCN heads."""

from __future__ import annotations

from easydict import EasyDict

from lib.backends.functions import Functions
from lib.nets import sizes
from lib.nets.aggregation import aggregate, cosine, embedding, to_ring, weigh
from lib.nets.detection import detection_maps, detections, training_losses
from lib.nets.flownet import double_by_convolution, flow, flow_of_prepared, prepare
from lib.nets.part import Part
from lib.nets.resnet import feature_map

EPS = 2e-5  # of BatchNorm; that of the baseline differs


def backbone(F: Functions, data, cfg: EasyDict):
    """data (N, 3, H, W) -> (N, FEAT_DIM, h, w)."""
    return feature_map(F, data, sizes.backbone(cfg, EPS), cfg.network.FEAT_DIM, cfg.network.FEAT_DILATION)


def losses(F: Functions, cfg: EasyDict) -> dict:
    """Inputs: data, data_bef, data_aft (1, 3, H, W), and those of R-FCN's training. Outputs: the same losses.

    The features of the two neighbours are warped to the current frame, embedded, weighted by the cosine between their
    embeddings and that of the current frame, and summed. The current frame's features are not part of the sum.
    """
    current, before, after = (F.Variable(name) for name in ("data", "data_bef", "data_aft"))
    features = backbone(F, F.concat(current, before, after, dim=0), cfg)
    own, neighbours = F.slice_axis(features, 0, 0, 1), F.slice_axis(features, 0, 1, 3)
    if cfg.TRAIN.WARP:
        motion = flow(F, F.concat(current, current, dim=0), F.concat(before, after, dim=0), sizes.flownet(cfg))
        neighbours = F.warp(neighbours, motion)
    embedded = embedding(F, F.concat(own, neighbours, dim=0), cfg.network.EMBED_DIMS)
    similarity = cosine(F, F.slice_axis(embedded, 0, 1, 3), F.slice_axis(embedded, 0, 0, 1))
    return training_losses(F, weigh(F, neighbours, similarity), cfg)


def _embedded_features(F: Functions, cfg: EasyDict) -> dict:
    """Input: data (N, 3, H, W) -> features (N, FEAT_DIM, h, w), embedding (N, E, h, w)."""
    features = backbone(F, F.Variable("data"), cfg)
    embedded = embedding(F, features, cfg.network.EMBED_DIMS)
    if cfg.TEST.WEIGHTS == "mean":  # the cosine with a zero vector is 0, so all weights are equal
        embedded = F.zeros_like(embedded)
    return {"features": features, "embedding": embedded}


def features(F: Functions, cfg: EasyDict) -> dict:
    """Input: data (N, 3, H, W). Output: conv_embed, features and embedding concatenated, in the layout of `to_ring`."""
    both = F.concat(*_embedded_features(F, cfg).values(), dim=1)
    return {"conv_embed": F.identity(to_ring(F, both), name="conv_embed")}


def image(F: Functions, cfg: EasyDict) -> dict:
    """Input: data (N, 3, H, W). Output: the flow network's input, (N, 3, H / 2, W / 2) with sizes rounded up."""
    return {"image": F.identity(prepare(F, F.Variable("data"), sizes.flownet(cfg)), name="image")}


def flow_of_pairs(F: Functions, cfg: EasyDict) -> dict:
    """Output: flow (P, 2, h, w) in feature cells, from one image to another. Parameters: see `for_convolutions`.

    Inputs: image_cache (S, ...), a ring buffer of outputs of `image`; current, other (P,), slots in it.
    """
    images, current, other = (F.Variable(name) for name in ("image_cache", "current", "other"))
    current, other = (F.take(images, slots) for slots in (current, other))
    motion = flow_of_prepared(F, current, other, sizes.flownet(cfg), double=double_by_convolution)
    return {"flow": F.identity(motion, name="flow")}


def aggregation(F: Functions, cfg: EasyDict, windows: int = 1, explain: bool = False) -> dict:
    """Detections of `windows` frames, each aggregated over a window of W frames.

    Inputs: feat_cache (S, ...), a ring buffer of outputs of `features`; order (windows, W), the slots of each window's
    frames; flow (windows * W, 2, h, w), from the window's current frame to each of them; im_info (windows, 3).
    explain: add the outputs weights<i> (W, 1, h, w) of window i.
    """
    ring, motion, order = (F.Variable(name) for name in ("feat_cache", "flow", "order"))
    return _aggregated_detections(F, ring, motion, order, cfg, windows, explain)


def test(F: Functions, cfg: EasyDict) -> dict:
    """Flow, aggregation and heads in one, as in the published test network, for one window.

    Inputs: data (1, 3, H, W), the current frame; data_cache (S, 3, H, W), a ring buffer of images; feat_cache, order
    (1, W) and im_info (1, 3), as for `aggregation`. All frames of the window, including the current one, are warped
    with the flow from the current frame.
    """
    data, images, ring, order = (F.Variable(name) for name in ("data", "data_cache", "feat_cache", "order"))
    current = F.repeat(data, repeats=window_frames(cfg), axis=0)
    motion = flow(F, current, F.take(images, F.reshape(order, (-1,))), sizes.flownet(cfg))
    return _aggregated_detections(F, ring, motion, order, cfg, windows=1)


def _aggregated_detections(
    F: Functions, ring, motion, order, cfg: EasyDict, windows: int, explain: bool = False
) -> dict:
    frames = window_frames(cfg)
    slots = F.reshape(order, (-1,))
    aggregated, weights = [], {}
    for index in range(windows):
        span = (0, index * frames, (index + 1) * frames)
        found = aggregate(
            F,
            ring,
            F.slice_axis(motion, *span),
            F.slice_axis(slots, *span),
            feature_channels=cfg.network.FEAT_DIM,
            current=cfg.TEST.KEY_FRAME_INTERVAL,
            name=f"aggregated{index}",
            with_weights=explain,
        )
        aggregated.append(found[0])
        if explain:
            weights[f"weights{index}"] = F.identity(found[1], name=f"weights{index}")
    return {**detections(F, F.concat(*aggregated, dim=0), cfg), **weights}


def window_frames(cfg: EasyDict) -> int:
    """Number of frames in a window: K before the current frame, the frame itself and, unless `causal`, K after it."""
    return cfg.TEST.KEY_FRAME_INTERVAL * (1 if cfg.TEST.causal else 2) + 1


def parts(cfg: EasyDict) -> dict[str, Part]:
    """All of FGFA except aggregation, proposals and pooling. The flow network is needed unless TEST.WARP is false."""
    net = cfg.network

    def maps(F: Functions) -> dict:
        return {name: F.identity(x, name=name) for name, x in _embedded_features(F, cfg).items()}

    def motion(F: Functions) -> dict:
        found = flow(F, F.Variable("current"), F.Variable("other"), sizes.flownet(cfg))
        return {"flow": F.identity(found, name="flow")}

    return {
        "features": Part(maps, {"data": 3}, 1, "FGFA: images, RGB minus mean -> features, embedding"),
        "flow": Part(
            motion,
            {"current": 3, "other": 3},
            1,
            "FGFA: images, RGB minus mean -> flow in feature cells, from current to other, x then y",
            needed=cfg.TEST.WARP,
        ),
        "heads": Part(
            lambda F: detection_maps(F, F.Variable("features"), cfg),
            {"features": net.FEAT_DIM},
            net.RCNN_FEAT_STRIDE,
            "FGFA: aggregated features -> maps",
        ),
    }
