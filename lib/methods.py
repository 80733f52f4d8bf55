"""The methods of this project. A new one is a package with a `METHOD` record and a line here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dff_rfcn.method import METHOD as DFF_RFCN
from fgfa_rfcn.method import METHOD as FGFA_RFCN
from lib.errors import InputError
from lib.method import Method
from rfcn.method import METHOD as RFCN

METHODS: dict[str, Method] = {method.name: method for method in (RFCN, FGFA_RFCN, DFF_RFCN)}


def method_named(name: str, source: str = "method") -> Method:
    """The method with this name. Raises InputError, prefixed by `source`, if there is none."""
    if name not in METHODS:
        raise InputError(f"{source} {name}: unknown method; choose from {', '.join(METHODS)}")
    return METHODS[name]


def method_of(cfg_path: str | Path) -> Method:
    """The method of a YAML file in experiments/<method>/cfgs. Raises InputError if it is in another folder."""
    folder = Path(cfg_path).resolve().parent
    if folder.name != "cfgs" or folder.parent.name not in METHODS:
        raise InputError(f"{cfg_path}: not in experiments/<method>/cfgs; specify its method with --method")
    return METHODS[folder.parent.name]


def titles(methods: Iterable[Method] = METHODS.values()) -> dict[str, str]:
    """Titles by name."""
    return {method.name: method.title for method in methods}
