"""Methods with settings, by name, as results and benchmarks have them: `rfcn`, `dff_i10`, `fgfa_k9_h3_d3_live`."""

from __future__ import annotations

import re

from lib.errors import InputError
from lib.method import Method
from lib.methods import METHODS

# FGFA with less work: with chained flow, by K; with key frames, without and with it; with shorter windows at clip ends;
# without later frames.
CHAINED = {reach: [f"fgfa_k{reach}_h{hop}" for hop in (1, 2, 3, 5)] for reach in (5, 9, 14)}
KEYED = {hop: [f"fgfa_k9{'_h3' if hop else ''}_d{duration}" for duration in (2, 3, 5, 10)] for hop in (0, 3)}
SHORTER = "fgfa_k9_h3_short"
LIVE = {name: f"{name}_live" for name in ("fgfa_k9_h3", *KEYED[3])}
WINDOWS = (0, 1, 2, 5, 9)  # K of FGFA
INTERVALS = (1, 2, 5, 10, 20)  # distances of DFF's key frames

_METHODS = {name.replace("_rfcn", ""): method for name, method in METHODS.items()}
_KEYS = {"i": "KEY_FRAME_INTERVAL", "k": "KEY_FRAME_INTERVAL", "h": "FLOW_HOP", "d": "KEY_FRAME_DURATION"}
_WORDS = {"short": "TEST.CLIP_ENDS=shorten", "live": "TEST.causal=true"}


def variant(name: str) -> tuple[Method, list[str]]:
    """The method with this name and its settings, such as TEST.FLOW_HOP=3. Raises InputError if there is none.

    FGFA without _h has TEST.FLOW_HOP=0, as published, whatever the YAML file says.
    """
    short, *parts = name.split("_")
    found = [re.fullmatch(r"([ikhd])(\d+)|short|live", part) for part in parts]
    if short not in _METHODS or None in found:
        raise InputError(
            f"{name}: unknown variant; give {', '.join(_METHODS)}, then for FGFA _k (window), _h (flow hop), _d "
            "(key-frame duration) and for DFF _i (distance of key frames), each with a number, or _short, _live"
        )
    settings = [f"TEST.{_KEYS[each[1]]}={each[2]}" if each[1] else _WORDS[each[0]] for each in found if each]
    method = _METHODS[short]
    if method.uses("TEST", "FLOW_HOP") and not any(each.startswith("TEST.FLOW_HOP=") for each in settings):
        settings.append("TEST.FLOW_HOP=0")
    return method, settings
