"""The keys that a YAML file of any method may hold: their defaults, and what they do.

Defaults are the published full-size settings. A method adds keys of its own (`lib.config.Schema`); those of methods
with a flow network are in `FLOW_TREE`. The type of a key is that of its default.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Key(NamedTuple):
    """A leaf of the tree.

    choices: the values allowed, if not any of the type. length: how many items a list must have. positive: whether a
    number, or every number of a list that must not be empty, must be greater than 0.
    """

    default: Any
    doc: str
    choices: tuple = ()
    length: int | None = None
    positive: bool = False


Tree = dict[str, Any]  # of Keys, and of sections, which are trees


def unused(default: Any) -> Key:
    """A key that is accepted without effect."""
    return Key(default, "Accepted so that published files load; has no effect here.")


TREE: Tree = {
    "MXNET_VERSION": Key("", "Package under external/mxnet to use instead of the installed MXNet."),
    "output_path": Key("./output", "Folder of everything that training and testing write."),
    "symbol": Key("", "Name of the published network file; the script run decides the network, not this."),
    "gpus": Key("", "GPU numbers separated by commas; empty for the CPU."),
    "CLASS_AGNOSTIC": Key(True, "One box regressor for all classes.", (True,)),
    "SCALES": Key(
        [600, 1000],
        "Images are resized to this short side, unless the long side then exceeds the second.",
        positive=True,
    ),
    "default": {
        "frequent": Key(100, "Training losses go to the log every so many steps."),
        "kvstore": Key("device", "No effect: gradients are summed over this machine's devices.", ("device", "local")),
    },
    "network": {
        "pretrained": Key(
            "./model/pretrained_model/resnet_v1_101", "Prefix of the backbone that training starts from."
        ),
        "pretrained_epoch": Key(0, "Epoch number of that file."),
        "PIXEL_MEANS": Key([103.06, 115.90, 123.15], "Mean of blue, green, red, subtracted from the image.", length=3),
        "IMAGE_STRIDE": Key(0, "Pad images to a multiple of this; only 0 (no padding) is supported.", (0,)),
        "RPN_FEAT_STRIDE": Key(16, "Pixels a feature cell; must be what STRIDES give."),
        "RCNN_FEAT_STRIDE": Key(16, "Must equal RPN_FEAT_STRIDE."),
        "FIXED_PARAMS": Key(
            ["conv1", "bn_conv1", "res2", "bn2", "gamma", "beta"], "Parameters whose names start so are not trained."
        ),
        "FIXED_PARAMS_SHARED": unused([]),
        "ANCHOR_SCALES": Key([8.0, 16.0, 32.0], "Anchor sizes in units of RPN_FEAT_STRIDE pixels.", positive=True),
        "ANCHOR_RATIOS": Key([0.5, 1, 2], "Anchor heights by widths.", positive=True),
        "NUM_ANCHORS": Key(0, "Scales times ratios; 0: computed. Another number is an error."),
        "ANCHOR_MEANS": Key(
            [0.0, 0.0, 0.0, 0.0], "Means of the RPN's box targets; only zeros are supported.", length=4
        ),
        "ANCHOR_STDS": Key(
            [0.1, 0.1, 0.4, 0.4], "Standard deviations of the RPN's box targets.", length=4, positive=True
        ),
        "NORMALIZE_RPN": Key(True, "RPN box targets are divided by ANCHOR_STDS.", (True,)),
        "OPERATORS": Key(
            "compiled", "Our compiled operators, or compositions of MXNet's own.", ("compiled", "builtin")
        ),
        "UNITS": Key([3, 4, 23, 3], "Residual units in stages 2 to 5.", length=4, positive=True),
        "WIDTHS": Key(
            [64, 128, 256, 512],
            "Width of the 3x3 convolutions in stages 2 to 5; outputs are 4 times it.",
            length=4,
            positive=True,
        ),
        "STRIDES": Key([1, 2, 2, 1], "Strides of stages 2 to 5.", length=4, positive=True),
        "DILATIONS": Key([1, 1, 1, 2], "Dilations of the 3x3 convolutions in stages 2 to 5.", length=4, positive=True),
        "STRIDE_IN_3X3": Key(False, "A stage's stride is on its first 3x3 convolution, as in torchvision's weights."),
        "STEM": Key(64, "Channels of conv1.", positive=True),
        "FEAT_DIM": Key(1024, "Channels of feat_conv_3x3: half for the RPN, half for the R-FCN head.", positive=True),
        "FEAT_DILATION": Key(6, "Dilation of feat_conv_3x3.", positive=True),
        "PSROI_SIZE": Key(7, "Bins a side in position-sensitive pooling.", positive=True),
    },
    "dataset": {
        "dataset": Key("ImageNetVID", "Name in output folders; ImageNetVID also names the built-in class list."),
        "dataset_path": Key("./data/ILSVRC2015", "Folder with Data, Annotations and ImageSets."),
        "root_path": unused("./data"),
        "image_set": Key("DET_train_30classes+VID_train_15frames", "Lists to train on, joined by +."),
        "test_image_set": Key("VID_val_videos", "List of the videos to test on."),
        "proposal": Key("rpn", "Where proposals come from.", ("rpn",)),
        "NUM_CLASSES": Key(31, "Classes and the background."),
        "CLASSES": Key(
            "", "Class list file; empty: classes.txt in dataset_path, or the list built in for ImageNetVID."
        ),
        "motion_iou_path": Key("", "Motion IoU file; empty: computed from the track ids."),
        "enable_detailed_eval": Key(True, "Also evaluate by motion and by area."),
    },
    "TRAIN": {
        "lr": Key(2.5e-4, "Learning rate.", positive=True),
        "lr_step": Key("1.333", "Epochs, separated by commas, at which the rate is divided by 10."),
        "warmup": Key(False, "Start with warmup_lr for warmup_step steps."),
        "warmup_lr": Key(0.0, "Rate during warm-up."),
        "warmup_step": Key(0, "Steps of warm-up."),
        "begin_epoch": Key(0, "First epoch."),
        "end_epoch": Key(2, "Epoch at which training ends."),
        "model_prefix": Key("rfcn_vid", "Start of checkpoint names."),
        "RESUME": Key(False, "Go on from the newest checkpoint in the output folder."),
        "FLIP": Key(True, "Add horizontally flipped images."),
        "SHUFFLE": Key(True, "Shuffle each epoch."),
        "SEED": Key(0, "Seed of everything random in training."),
        "ENABLE_OHEM": Key(True, "Train on the rois with the largest losses.", (True,)),
        "BATCH_IMAGES": Key(1, "Images a device.", (1,)),
        "BATCH_ROIS": Key(-1, "Rois sampled an image; -1: all."),
        "BATCH_ROIS_OHEM": Key(128, "Rois kept by OHEM an image.", positive=True),
        "END2END": Key(True, "RPN and head are trained together.", (True,)),
        "ALTERNATE": unused({}),
        "ASPECT_GROUPING": Key(True, "Devices get images of one orientation in a step."),
        "FG_FRACTION": Key(0.25, "Share of foreground rois, where BATCH_ROIS is not -1."),
        "FG_THRESH": Key(0.5, "A roi is foreground from this IoU."),
        "BG_THRESH_HI": Key(0.5, "A roi is background below this IoU."),
        "BG_THRESH_LO": Key(0.0, "... and from this IoU."),
        "BBOX_REGRESSION_THRESH": Key(0.5, "Rois from this IoU train the box regressor."),
        "BBOX_WEIGHTS": Key([1.0, 1.0, 1.0, 1.0], "Weights of the four box targets.", length=4),
        "BBOX_MEANS": Key([0.0, 0.0, 0.0, 0.0], "Means of the box targets.", length=4),
        "BBOX_STDS": Key([0.1, 0.1, 0.2, 0.2], "Standard deviations of the box targets.", length=4, positive=True),
        "BBOX_NORMALIZATION_PRECOMPUTED": Key(True, "BBOX_MEANS and BBOX_STDS are used as they stand.", (True,)),
        "RPN_BATCH_SIZE": Key(256, "Anchors sampled an image.", positive=True),
        "RPN_FG_FRACTION": Key(0.5, "Largest share of positive anchors."),
        "RPN_POSITIVE_OVERLAP": Key(0.7, "An anchor is positive from this IoU."),
        "RPN_NEGATIVE_OVERLAP": Key(0.3, "An anchor is negative below this IoU."),
        "RPN_CLOBBER_POSITIVES": Key(False, "Negative wins where an anchor would be both."),
        "RPN_BBOX_WEIGHTS": Key([1.0, 1.0, 1.0, 1.0], "Weights of the RPN's four box targets.", length=4),
        "RPN_POSITIVE_WEIGHT": Key(
            -1.0, "Share of positives in the RPN box loss; -1: each anchor counts alike.", (-1.0,)
        ),
        "CXX_PROPOSAL": unused(True),
        "RPN_NMS_THRESH": Key(0.7, "IoU of the NMS over proposals."),
        "RPN_PRE_NMS_TOP_N": Key(6000, "Proposals before NMS."),
        "RPN_POST_NMS_TOP_N": Key(300, "Proposals after NMS."),
        "RPN_MIN_SIZE": Key(0, "Smallest side of a proposal in pixels of the original image."),
        "wd": Key(5e-4, "Weight decay of weights and gammas."),
        "momentum": Key(0.9, "Momentum of SGD."),
        "CLIP_GRADIENT": Key(0.0, "Largest L2 norm of all gradients together; 0: no limit."),
    },
    "TEST": {
        "HAS_RPN": Key(True, "Proposals come from the RPN.", (True,)),
        "BATCH_IMAGES": Key(1, "Frames a forward pass of the baseline.", positive=True),
        "CXX_PROPOSAL": unused(True),
        "RPN_NMS_THRESH": Key(0.7, "IoU of the NMS over proposals."),
        "RPN_PRE_NMS_TOP_N": Key(6000, "Proposals before NMS."),
        "RPN_POST_NMS_TOP_N": Key(300, "Proposals after NMS."),
        "RPN_MIN_SIZE": Key(0, "Smallest side of a proposal in pixels of the original image."),
        "PROPOSAL_NMS_THRESH": unused(0.7),
        "PROPOSAL_PRE_NMS_TOP_N": unused(20000),
        "PROPOSAL_POST_NMS_TOP_N": unused(2000),
        "PROPOSAL_MIN_SIZE": unused(0),
        "NMS": Key(0.3, "IoU of the NMS over detections, class by class."),
        "SCORE_THRESH": Key(1e-3, "Detections of at most this score are dropped."),
        "max_per_image": Key(300, "Detections kept a frame, over all classes."),
        "test_epoch": Key(2, "Checkpoint to test."),
        "SEQ_NMS": Key(False, "Rescore detections along a video by Seq-NMS."),
        "PRECISION": Key(
            "float32",
            "Of the feature and flow networks on the CPU: int8 needs ranges from calibrate.py, bfloat16 needs AVX-512; "
            "bfloat16_emulated computes nearly the same anywhere, slowly, to see what it costs in accuracy.",
            ("float32", "bfloat16", "bfloat16_emulated", "int8"),
        ),
        "MOTION_RANGES": Key([], "Motion IoU ranges, as NAME=LOW:HIGH; empty: all, slow, medium and fast."),
        "AREA_RANGES": Key([], "Area ranges in pixels, as NAME=LOW:HIGH; empty: all, small, middle and large."),
    },
    "BACKBONE": {
        "pool": Key(16384, "Crops of rendered objects, held in memory."),
        "lr": Key(0.1, "Peak learning rate of the one-cycle schedule."),
        "steps": Key(4096, "Training steps of the classifier whose backbone detection starts from."),
        "batch": Key(32, "Crops a step."),
        "crop": Key(96, "Side of a crop in pixels."),
        "wd": Key(5e-4, "Weight decay."),
    },
}

# Keys of methods with a flow network.
FLOW_TREE: Tree = {
    "network": {
        "pretrained_flow": Key("./model/pretrained_model/flownet", "Prefix of the flow network FGFA starts from."),
        "FLOW_ENCODER": Key([64, 128, 256, 512, 512, 1024], "Channels of the flow network's levels.", positive=True),
        "FLOW_DECODER": Key([512, 256, 128, 64], "Channels of its deconvolutions, coarse to fine.", positive=True),
        "FLOW_POOL_INPUT": Key(True, "Halve the images before the flow network."),
        "FLOW_POOL_OUTPUT": Key(True, "Halve its finest level before the last layer."),
    },
    "TRAIN": {
        "FLOW_LR_FACTOR": Key(1.0, "Multiplies the learning rate of the flow network."),
    },
    "FLOW": {
        "pool": Key(8192, "Made-up pairs with true flow, held in memory."),
        "lr": Key(6e-4, "Learning rate of Adam at the start; it falls to zero along a cosine."),
        "steps": Key(24000, "Steps of flow pre-training."),
        "batch": Key(8, "Pairs a step."),
        "moving_weight": Key(5.0, "Weight of cells on moving objects in the loss."),
    },
}
