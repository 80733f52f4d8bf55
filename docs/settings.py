"""Writes docs/settings.md, the reference of the YAML settings, from lib/defaults.py.

python docs/settings.py
"""

from __future__ import annotations

from pathlib import Path

from lib.config import kind
from lib.defaults import TREE, Key
from lib.files import replacing

PAGE = Path(__file__).with_suffix(".md")

HEAD = """\
# Settings

Every key that a YAML file (`--cfg`) may hold. What a file leaves out has the default of this page: the published
full-size networks and their training on ImageNet VID. The files under `experiments/*/cfgs` are examples, and
`--set KEY.PATH=VALUE` changes a key for one run: `--set TEST.KEY_FRAME_INTERVAL=5 gpus=`.

An unknown key is an error that names the nearest valid one. So are a value of another type, a value that is not
allowed, a key given twice, and values that contradict each other (`RPN_FEAT_STRIDE` and what `STRIDES` give, say). The
settings that a training or a test used, defaults included, are written to its output folder.

Keys of the published files that make no difference here are accepted, and marked so. Where one value alone is allowed,
the published code had a choice that this one has not.

<!-- Made by docs/settings.py from lib/defaults.py: change those. -->
"""

ABOUT = {
    "": "Not in any section.",
    "default": "Logging and devices.",
    "network": "The networks: what training starts from, the input, anchors, and the sizes of all layers.",
    "dataset": "What is trained and tested on.",
    "TRAIN": "Training a detector. The two offsets, the flow network's rate and `WARP` are for FGFA alone.",
    "TEST": "Detection and evaluation. The window, `causal`, `WARP` and `WEIGHTS` are for FGFA alone.",
    "BACKBONE": "Pre-training of the small backbone on rendered crops (`experiments/minivid/pretrain.py backbone`).",
    "FLOW": "Pre-training of the small flow network on made-up pairs (`experiments/minivid/pretrain.py flow`).",
}


def page() -> str:
    """The whole page."""
    top = {name: node for name, node in TREE.items() if isinstance(node, Key)}
    sections = {"": top, **{name: node for name, node in TREE.items() if not isinstance(node, Key)}}
    return "\n".join([HEAD, *(_section(name, keys) for name, keys in sections.items())])


def _section(name: str, keys: dict[str, Key]) -> str:
    rows = [
        f"| `{key}` | `{_yaml(node.default)}` | {_values(node)} | {node.doc.replace('|', chr(92) + '|')} |"
        for key, node in keys.items()
    ]
    title = f"`{name}`" if name else "Top level"
    return "\n".join(
        [f"## {title}", "", ABOUT[name], "", "| key | default | value | |", "|---|---|---|---|", *rows, ""]
    )


def _values(node: Key) -> str:
    if len(node.choices) == 1:
        return f"only `{_yaml(node.choices[0])}`"
    return " or ".join(f"`{_yaml(choice)}`" for choice in node.choices) or kind(node.default)


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else str(value)


if __name__ == "__main__":
    with replacing(PAGE) as path:
        path.write_text(page(), encoding="utf-8")
