"""The YAML keys that all methods share, with their defaults and descriptions.

Defaults are the published full-size settings. Methods add their own keys (`lib.config.Schema`); `FLOW_TREE` has those
of methods with a flow network. The type of a key is that of its default.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Key(NamedTuple):
    """A leaf of the tree.

    choices: the allowed values, if restricted. length: the number of items that a list must have. positive: whether
    the number must be greater than 0; a list must then have items, each of them greater than 0. several: whether a list
    of such lists is allowed too.
    """

    default: Any
    doc: str
    choices: tuple = ()
    length: int | None = None
    positive: bool = False
    several: bool = False


Tree = dict[str, Any]  # Keys and sections by name; a section is a Tree


def unused(default: Any) -> Key:
    """A key that is accepted but has no effect."""
    return Key(default, "Accepted so that published files load; has no effect here.")


TREE: Tree = {
    "backend": Key(
        "auto",
        "Engine that executes the networks; auto: MXNet where it is installed, else PyTorch.",
        ("auto", "mxnet", "torch"),
    ),
    "method": Key("", "Method that the file is for. FGFA and Deep Feature Flow reject files for other methods."),
    "MXNET_VERSION": Key("", "Package under external/mxnet to use instead of the installed MXNet."),
    "output_path": Key("./output", "Output folder of training and testing."),
    "symbol": Key("", "Name of the network in the published files. No effect: the script determines the network."),
    "gpus": Key("", "GPU numbers separated by commas; empty for the CPU."),
    "CLASS_AGNOSTIC": Key(True, "One box regressor for all classes.", (True,)),
    "SCALES": Key(
        [600, 1000],
        "Short side that images are resized to, and limit of their long side, in pixels. With several pairs, such as "
        "[[600, 1000], [480, 800]], training draws one for each image, and testing uses the first.",
        positive=True,
        several=True,
    ),
    "default": {
        "frequent": Key(100, "Log training losses every N steps."),
        "kvstore": Key(
            "device",
            "With MXNet, where gradients are summed. device, local: over this machine's devices; dist_sync: over all "
            "workers of MXNet's parameter server; dist_device_sync: the same, first over the GPUs of each worker.",
            ("device", "local", "dist_sync", "dist_device_sync"),
        ),
    },
    "network": {
        "pretrained": Key(
            "./model/pretrained_model/resnet_v1_101", "Path prefix of the backbone weights that training starts from."
        ),
        "pretrained_epoch": Key(0, "Epoch in the name of that file."),
        "PIXEL_MEANS": Key([103.06, 115.90, 123.15], "Means of blue, green and red, subtracted from images.", length=3),
        "IMAGE_STRIDE": Key(0, "Pad images to a multiple of this; only 0 (no padding) is supported.", (0,)),
        "RPN_FEAT_STRIDE": Key(16, "Pixels per feature cell; must match STRIDES."),
        "RCNN_FEAT_STRIDE": Key(16, "Must equal RPN_FEAT_STRIDE."),
        "FIXED_PARAMS": Key(
            ["conv1", "bn_conv1", "res2", "bn2", "gamma", "beta"],
            "Parameters whose names start with one of these are not trained.",
        ),
        "FIXED_PARAMS_SHARED": unused([]),
        "ANCHOR_SCALES": Key([8.0, 16.0, 32.0], "Anchor sizes in units of RPN_FEAT_STRIDE pixels.", positive=True),
        "ANCHOR_RATIOS": Key([0.5, 1, 2], "Aspect ratios of anchors (height / width).", positive=True),
        "NUM_ANCHORS": Key(0, "Number of scales times ratios; 0: computed. Any other number is an error."),
        "ANCHOR_MEANS": Key(
            [0.0, 0.0, 0.0, 0.0], "Means of the RPN's box targets; only zeros are supported.", length=4
        ),
        "ANCHOR_STDS": Key(
            [0.1, 0.1, 0.4, 0.4], "Standard deviations of the RPN's box targets.", length=4, positive=True
        ),
        "NORMALIZE_RPN": Key(True, "RPN box targets are divided by ANCHOR_STDS.", (True,)),
        "OPERATORS": Key(
            "compiled",
            "This project's compiled operators, or compositions of MXNet's built-in ones.",
            ("compiled", "builtin"),
        ),
        "UNITS": Key([3, 4, 23, 3], "Residual units in stages 2 to 5.", length=4, positive=True),
        "WIDTHS": Key(
            [64, 128, 256, 512],
            "Channels of the 3x3 convolutions in stages 2 to 5; outputs have 4 times as many.",
            length=4,
            positive=True,
        ),
        "STRIDES": Key([1, 2, 2, 1], "Strides of stages 2 to 5.", length=4, positive=True),
        "DILATIONS": Key([1, 1, 1, 2], "Dilations of the 3x3 convolutions in stages 2 to 5.", length=4, positive=True),
        "STRIDE_IN_3X3": Key(False, "Stride in the first 3x3 convolution of a stage, as for torchvision's weights."),
        "STEM": Key(64, "Channels of conv1.", positive=True),
        "FEAT_DIM": Key(1024, "Channels of feat_conv_3x3: half for the RPN, half for the R-FCN head.", positive=True),
        "FEAT_DILATION": Key(6, "Dilation of feat_conv_3x3.", positive=True),
        "PSROI_SIZE": Key(7, "Bins per side in position-sensitive pooling.", positive=True),
    },
    "dataset": {
        "dataset": Key("ImageNetVID", "Name in output paths; ImageNetVID also selects the built-in class list."),
        "dataset_path": Key("./data/ILSVRC2015", "Folder with Data, Annotations and ImageSets."),
        "root_path": unused("./data"),
        "image_set": Key("DET_train_30classes+VID_train_15frames", "Image lists to train on, joined by +."),
        "test_image_set": Key("VID_val_videos", "List of the videos to test on."),
        "proposal": Key("rpn", "Source of proposals.", ("rpn",)),
        "NUM_CLASSES": Key(31, "Number of classes, background included."),
        "CLASSES": Key("", "Class list file; empty: classes.txt in dataset_path, or the built-in list of ImageNetVID."),
        "motion_iou_path": Key("", "Motion IoU file; empty: computed from the track ids."),
        "enable_detailed_eval": Key(True, "Also evaluate by motion and by area."),
    },
    "TRAIN": {
        "lr": Key(2.5e-4, "Learning rate.", positive=True),
        "lr_step": Key("1.333", "Epochs, separated by commas, at which the rate is divided by 10."),
        "warmup": Key(False, "Start with warmup_lr for warmup_step steps."),
        "warmup_lr": Key(0.0, "Learning rate during warm-up."),
        "warmup_step": Key(0, "Number of warm-up steps."),
        "begin_epoch": Key(0, "First epoch."),
        "end_epoch": Key(2, "Epoch at which training ends."),
        "model_prefix": Key("rfcn_vid", "Start of checkpoint names."),
        "RESUME": Key(False, "Resume from the newest checkpoint in the output folder."),
        "FLIP": Key(True, "Add horizontally flipped images."),
        "AUGMENT": {
            "BRIGHTNESS": Key(0.0, "Multiply the pixel values by a factor from 1 - x to 1 + x."),
            "CONTRAST": Key(0.0, "Multiply their difference from mid-grey (128) by a factor from 1 - x to 1 + x."),
            "SATURATION": Key(0.0, "Multiply their difference from grey by a factor from 1 - x to 1 + x."),
            "HUE": Key(0.0, "Turn colours by up to this part of the colour circle, at most 0.5, either way."),
            "SCALE": Key(0.0, "Multiply both sides of SCALES by a factor from 1 - x to 1 + x."),
        },
        "SHUFFLE": Key(True, "Shuffle each epoch."),
        "SEED": Key(0, "Random seed of training."),
        "ENABLE_OHEM": Key(True, "Train on the RoIs with the largest losses.", (True,)),
        "BATCH_IMAGES": Key(1, "Images per device.", (1,)),
        "BATCH_ROIS": Key(-1, "RoIs sampled per image; -1: all."),
        "BATCH_ROIS_OHEM": Key(128, "RoIs kept per image by OHEM.", positive=True),
        "END2END": Key(True, "RPN and head are trained together.", (True,)),
        "ALTERNATE": unused({}),
        "ASPECT_GROUPING": Key(True, "Images of a step have the same orientation where possible."),
        "FG_FRACTION": Key(0.25, "Largest fraction of foreground RoIs, if BATCH_ROIS is not -1."),
        "FG_THRESH": Key(0.5, "A RoI is foreground if its IoU is at least this."),
        "BG_THRESH_HI": Key(0.5, "A RoI is background if its IoU is below this ..."),
        "BG_THRESH_LO": Key(0.0, "... and at least this."),
        "BBOX_REGRESSION_THRESH": Key(0.5, "RoIs train the box regressor if their IoU is at least this."),
        "BBOX_WEIGHTS": Key([1.0, 1.0, 1.0, 1.0], "Weights of the four box targets.", length=4),
        "BBOX_MEANS": Key([0.0, 0.0, 0.0, 0.0], "Means of the box targets.", length=4),
        "BBOX_STDS": Key([0.1, 0.1, 0.2, 0.2], "Standard deviations of the box targets.", length=4, positive=True),
        "BBOX_NORMALIZATION_PRECOMPUTED": Key(True, "BBOX_MEANS and BBOX_STDS are used as given.", (True,)),
        "RPN_BATCH_SIZE": Key(256, "Anchors sampled per image.", positive=True),
        "RPN_FG_FRACTION": Key(0.5, "Largest fraction of positive anchors."),
        "RPN_POSITIVE_OVERLAP": Key(0.7, "An anchor is positive if its IoU is at least this."),
        "RPN_NEGATIVE_OVERLAP": Key(0.3, "An anchor is negative if its IoU is below this."),
        "RPN_CLOBBER_POSITIVES": Key(False, "An anchor that would be both positive and negative is negative."),
        "RPN_BBOX_WEIGHTS": Key([1.0, 1.0, 1.0, 1.0], "Weights of the RPN's four box targets.", length=4),
        "RPN_POSITIVE_WEIGHT": Key(
            -1.0, "Weight of positives in the RPN box loss; -1: all anchors count equally.", (-1.0,)
        ),
        "CXX_PROPOSAL": unused(True),
        "RPN_NMS_THRESH": Key(0.7, "IoU threshold of NMS over proposals."),
        "RPN_PRE_NMS_TOP_N": Key(6000, "Proposals kept before NMS."),
        "RPN_POST_NMS_TOP_N": Key(300, "Proposals kept after NMS."),
        "RPN_MIN_SIZE": Key(0, "Smallest side of a proposal in pixels of the original image."),
        "wd": Key(5e-4, "Weight decay, for weights and gammas."),
        "momentum": Key(0.9, "Momentum of SGD."),
        "PRECISION": Key(
            "float32",
            "Precision of the convolutions in training; weights, gradients and losses stay in float32. bfloat16 needs "
            "the PyTorch backend, and AVX-512 or a GPU that has it. MiniVID's pre-training always uses float32.",
            ("float32", "bfloat16"),
        ),
        "EMA": Key(
            0.0,
            "Decay of a moving average of the weights, such as 0.999, which is saved beside them; 0: no average.",
        ),
        "VALIDATE": Key(0.0, "Validate every N epochs, such as 1 or 0.25; 0: never."),
        "VALIDATE_SET": Key("", "List of videos to validate on; empty: test_image_set."),
        "VALIDATE_VIDEOS": Key(20, "Validate on this many videos of the list, balanced by class; 0: on all."),
        "EARLY_STOP": Key(0, "Stop after N validations in a row without a better mAP; 0: never."),
        "TENSORBOARD": Key(False, "Write losses, learning rate, speed, gradient norm and validations for TensorBoard."),
        "CALLBACK": Key(
            "", "Function, as MODULE:FUNCTION, that gets the same figures. Only called with --allow-callback."
        ),
        "CLIP_GRADIENT": Key(0.0, "Limit of the L2 norm of all gradients together; 0: no limit."),
    },
    "TEST": {
        "HAS_RPN": Key(True, "Proposals come from the RPN.", (True,)),
        "BATCH_IMAGES": Key(1, "Frames per forward pass.", positive=True),
        "CXX_PROPOSAL": unused(True),
        "RPN_NMS_THRESH": Key(0.7, "IoU threshold of NMS over proposals."),
        "RPN_PRE_NMS_TOP_N": Key(6000, "Proposals kept before NMS."),
        "RPN_POST_NMS_TOP_N": Key(300, "Proposals kept after NMS."),
        "RPN_MIN_SIZE": Key(0, "Smallest side of a proposal in pixels of the original image."),
        "PROPOSAL_NMS_THRESH": unused(0.7),
        "PROPOSAL_PRE_NMS_TOP_N": unused(20000),
        "PROPOSAL_POST_NMS_TOP_N": unused(2000),
        "PROPOSAL_MIN_SIZE": unused(0),
        "NMS": Key(0.3, "IoU threshold of NMS over the detections of each class."),
        "SCORE_THRESH": Key(1e-3, "Detections with this score or less are dropped."),
        "max_per_image": Key(300, "Detections kept per frame, over all classes."),
        "test_epoch": Key(2, "Epoch of the checkpoint to test."),
        "SEQ_NMS": Key(False, "Rescore the detections of a video with Seq-NMS."),
        "PRECISION": Key(
            "float32",
            "Precision of the feature and flow networks. int8 needs MXNet and ranges from calibrate.py; bfloat16 needs "
            "AVX-512 or, with PyTorch, a GPU that has it; bfloat16_emulated, with MXNet, computes nearly the same on "
            "any CPU, slowly, to measure the loss of accuracy.",
            ("float32", "bfloat16", "bfloat16_emulated", "int8"),
        ),
        "MOTION_RANGES": Key([], "Motion IoU ranges, as NAME=LOW:HIGH; empty: all, slow, medium and fast."),
        "AREA_RANGES": Key([], "Area ranges in pixels, as NAME=LOW:HIGH; empty: all, small, middle and large."),
    },
    "BACKBONE": {
        "pool": Key(16384, "Number of crops of rendered objects, held in memory.", positive=True),
        "lr": Key(0.1, "Peak learning rate of the one-cycle schedule.", positive=True),
        "steps": Key(4096, "Training steps of the classifier; detection starts from its backbone.", positive=True),
        "batch": Key(32, "Crops per step.", positive=True),
        "crop": Key(96, "Side of a crop in pixels.", positive=True),
        "wd": Key(5e-4, "Weight decay."),
    },
}

# Keys of methods with a flow network.
FLOW_TREE: Tree = {
    "network": {
        "pretrained_flow": Key(
            "./model/pretrained_model/flownet", "Path prefix of the flow network that training starts from."
        ),
        "FLOW_ENCODER": Key([64, 128, 256, 512, 512, 1024], "Channels of the flow network's levels.", positive=True),
        "FLOW_DECODER": Key(
            [512, 256, 128, 64], "Channels of the flow network's deconvolutions, coarse to fine.", positive=True
        ),
        "FLOW_POOL_INPUT": Key(True, "Halve the images before the flow network."),
        "FLOW_POOL_OUTPUT": Key(True, "Halve the flow network's finest level before its last layer."),
    },
    "TRAIN": {
        "FLOW_LR_FACTOR": Key(1.0, "Multiplies the learning rate of the flow network."),
    },
    "FLOW": {
        "pool": Key(8192, "Number of synthetic pairs with true flow, held in memory.", positive=True),
        "lr": Key(6e-4, "Initial learning rate of Adam; it falls to zero along a cosine.", positive=True),
        "steps": Key(24000, "Steps of flow pre-training.", positive=True),
        "batch": Key(8, "Pairs per step.", positive=True),
        "moving_weight": Key(5.0, "Loss weight of cells on moving objects."),
    },
}
