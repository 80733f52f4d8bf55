"""Flow-guided feature aggregation (Zhu et al., ICCV 2017) in front of the R-FCN heads."""

from __future__ import annotations

from easydict import EasyDict

from fgfa_rfcn.schedule import Schedule
from lib.backends.functions import Functions
from lib.nets import sizes
from lib.nets.aggregation import aggregate, cosine, embedding, to_ring, weigh
from lib.nets.detection import backbone, detections, heads_part, training_losses
from lib.nets.flownet import chained, double_by_convolution, flow, flow_of_prepared
from lib.nets.part import Part

EPS = 2e-5  # of BatchNorm; that of the baseline differs


def losses(F: Functions, cfg: EasyDict) -> dict:
    """Inputs: data, data_bef, data_aft (1, 3, H, W), and those of R-FCN's training. Outputs: the same losses.

    The features of the two neighbours are warped to the current frame, embedded, weighted by the cosine between their
    embeddings and that of the current frame, and summed. The current frame's features are not part of the sum.
    """
    current, before, after = (F.Variable(name) for name in ("data", "data_bef", "data_aft"))
    features = backbone(F, F.concat(current, before, after, dim=0), cfg, EPS)
    own, neighbours = F.slice_axis(features, 0, 0, 1), F.slice_axis(features, 0, 1, 3)
    if cfg.TRAIN.WARP:
        motion = flow(F, F.concat(current, current, dim=0), F.concat(before, after, dim=0), sizes.flownet(cfg))
        neighbours = F.warp(neighbours, motion)
    embedded = embedding(F, F.concat(own, neighbours, dim=0), cfg.network.EMBED_DIMS)
    similarity = cosine(F, F.slice_axis(embedded, 0, 1, 3), F.slice_axis(embedded, 0, 0, 1))
    return training_losses(F, weigh(F, neighbours, similarity), cfg)


def _embedded_features(F: Functions, cfg: EasyDict) -> dict:
    """Input: data (N, 3, H, W) -> features (N, FEAT_DIM, h, w), embedding (N, E, h, w)."""
    features = backbone(F, F.Variable("data"), cfg, EPS)
    embedded = embedding(F, features, cfg.network.EMBED_DIMS)
    if cfg.TEST.WEIGHTS == "mean":  # the cosine with a zero vector is 0, so all weights are equal
        embedded = F.zeros_like(embedded)
    return {"features": features, "embedding": embedded}


def features(F: Functions, cfg: EasyDict) -> dict:
    """Input: data (N, 3, H, W). Output: conv_embed, features and embedding concatenated, in the layout of `to_ring`."""
    both = F.concat(*_embedded_features(F, cfg).values(), dim=1)
    return {"conv_embed": F.identity(to_ring(F, both), name="conv_embed")}


def flow_of_pairs(F: Functions, cfg: EasyDict) -> dict:
    """Output: flow (P, 2, h, w) in feature cells, from one image to another. Parameters: see `for_convolutions`.

    Inputs: image_cache (S, ...), a ring buffer of outputs of `lib.nets.flownet.image`; current, other (P,), its slots.
    """
    images, current, other = (F.Variable(name) for name in ("image_cache", "current", "other"))
    current, other = (F.take(images, slots) for slots in (current, other))
    motion = flow_of_prepared(F, current, other, sizes.flownet(cfg), double=double_by_convolution)
    return {"flow": F.identity(motion, name="flow")}


def chained_flow(F: Functions, pairs: int, steps: int) -> dict:
    """Output: flow (pairs, 2, h, w) in feature cells, each followed over `steps` steps.

    Inputs: flow_cache (S, 2, h, w), outputs of `flow_of_pairs`; rows (steps * pairs,), their rows in it: those of the
    first steps, then of the second ones, ...; for several steps lowest and highest (pairs, 2, h, w), see `chained`.
    """
    rows = F.take(F.Variable("flow_cache"), F.Variable("rows"))
    flows = [F.slice_axis(rows, 0, step * pairs, (step + 1) * pairs) for step in range(steps)]
    bounds = [F.Variable(name) for name in ("lowest", "highest")] if steps > 1 else []
    return {"flow": F.identity(chained(F, flows, *bounds), name="flow")}


def aggregation(F: Functions, cfg: EasyDict, windows: int = 1, explain: bool = False) -> dict:
    """Detections of `windows` frames, each aggregated over a window of W frames.

    Inputs: those of `aggregated`, and im_info (windows, 3). explain: add its outputs weights<i>.
    """
    ring, motion, order = (F.Variable(name) for name in ("feat_cache", "flow", "order"))
    features, weights = _aggregated(F, ring, motion, order, cfg, windows, explain)
    return {**detections(F, F.concat(*features, dim=0), cfg), **weights}


def aggregated(F: Functions, cfg: EasyDict, explain: bool = False) -> dict:
    """Output: aggregated (1, FEAT_DIM, h, w), the features of a frame aggregated over a window of W frames.

    Inputs: feat_cache (S, ...), a ring buffer of outputs of `features`; order (1, W), the slots of the window's frames,
    -1 for a position left out; flow (W or more, 2, h, w), from the window's current frame to each of them.
    explain: add the output weights0 (W, 1, h, w).
    """
    ring, motion, order = (F.Variable(name) for name in ("feat_cache", "flow", "order"))
    (features,), weights = _aggregated(F, ring, motion, order, cfg, 1, explain)
    return {"aggregated": F.identity(features, name="aggregated"), **weights}


def propagation(F: Functions, cfg: EasyDict, frames: int, sources: int) -> dict:
    """Detections of `frames` frames, with features that come from `sources` key frames each.

    Inputs: key_cache (S, FEAT_DIM, h, w), a ring buffer of outputs of `aggregated`; order (sources * frames,), slots in
    it: those of the first source of every frame, then of the second; share (sources * frames, 1, 1, 1), which sum to 1
    over the sources; flow (sources * frames or more, 2, h, w), from the frames to the key frames; im_info (frames, 3).
    """
    ring, motion, order, share = (F.Variable(name) for name in ("key_cache", "flow", "order", "share"))
    warped = F.warp(F.take(ring, order), F.slice_axis(motion, 0, 0, sources * frames))
    shared = F.broadcast_mul(warped, share)
    features, *others = (F.slice_axis(shared, 0, i * frames, (i + 1) * frames) for i in range(sources))
    for other in others:
        features = features + other
    return detections(F, features, cfg)


def test(F: Functions, cfg: EasyDict) -> dict:
    """Flow, aggregation and heads in one, as in the published test network, for one window.

    Inputs: data (1, 3, H, W), the current frame; data_cache (S, 3, H, W), a ring buffer of images; feat_cache, order
    (1, W) and im_info (1, 3), as for `aggregation`. All frames of the window, including the current one, are warped
    with the flow from the current frame.
    """
    data, images, ring, order = (F.Variable(name) for name in ("data", "data_cache", "feat_cache", "order"))
    current = F.repeat(data, repeats=Schedule.of(cfg.TEST).window, axis=0)
    motion = flow(F, current, F.take(images, F.reshape(order, (-1,))), sizes.flownet(cfg))
    (features,), _ = _aggregated(F, ring, motion, order, cfg, windows=1)
    return detections(F, F.concat(features, dim=0), cfg)


def _aggregated(
    F: Functions, ring, motion, order, cfg: EasyDict, windows: int, explain: bool = False
) -> tuple[list, dict]:
    """(aggregated features of each window, weights by name of the output if `explain`).

    ring (S, ...): a ring buffer of outputs of `features`; motion (windows * W or more, 2, h, w): flow from each
    window's current frame to each of its frames; order (windows, W): their slots, -1 for a position left out.
    Weights: weights<i> (W, 1, h, w) of window i.
    """
    schedule = Schedule.of(cfg.TEST)
    frames, slots = schedule.window, F.reshape(order, (-1,))
    aggregated, weights = [], {}
    for index in range(windows):
        span = (0, index * frames, (index + 1) * frames)
        found = aggregate(
            F,
            ring,
            F.slice_axis(motion, *span),
            F.slice_axis(slots, *span),
            feature_channels=cfg.network.FEAT_DIM,
            current=schedule.before,
            name=f"aggregated{index}",
            with_weights=explain,
            partial=cfg.TEST.CLIP_ENDS == "shorten",
        )
        aggregated.append(found[0])
        if explain:
            weights[f"weights{index}"] = F.identity(found[1], name=f"weights{index}")
    return aggregated, weights


def cells(cfg: EasyDict, size: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the features of images of shape (N, 3, H, W)."""
    height, width = (-(-side // cfg.network.RCNN_FEAT_STRIDE) for side in size[2:])
    return height, width


def parts(cfg: EasyDict) -> dict[str, Part]:
    """All of FGFA except aggregation, proposals and pooling. The flow network is needed unless TEST.WARP is false."""

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
        "heads": heads_part(cfg, "FGFA: aggregated features -> maps"),
    }
