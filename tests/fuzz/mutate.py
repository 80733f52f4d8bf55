"""Damages files: bytes, numbers, structure, archives, headers, and what the file itself is. Everything is seeded."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lib.files import sha256
from lib.nets import params_file

AMOUNTS = ("70000", "1000000", "1_000")  # that are accepted as amounts of work
NUMBERS = (
    "nan", "NaN", "inf", "-Infinity", "-1", "0", "1e300", "1e999", "-0.0", *AMOUNTS,
    "99999999999", str(2**31), str(2**63),
    str(2**64 - 1), "9" * 400, "9" * 5000, "2001-99-99", "0x10", "null", "true", "", "²", "1.5",
)  # fmt: skip
WORDS = (
    "", " ", "..", "../../escape", "/tmp/escape", "a/../../../escape", "~nobody/x", "x" * 300, "x" * 70000, "a b",
    "\x00", "\udcff", "\u202e", "a\nb", "é", "-", "*", "{}", "[]", "clip 0", "%s%n", "CON",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, [], {}, [[]], {"a": 1}, -1, 0, 1e300, 2**31, 2**63, 10**400, "nan", [1, "x"], [None] * 4, 0.5, *WORDS
)  # fmt: skip
LAUGHS = "\na0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)
)
ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {name} "{f"&{inner};" * 10}">' for inner, name in zip("abcdefgh", "bcdefghi")
)

Mutation = Callable[[Path, random.Random], None]


def mutate(path: Path, rng: random.Random) -> str:
    """Damages a file in one way that suits its kind, and says how."""
    kinds: dict[str, Mutation] = dict(_ANY)
    if path.is_file():
        kinds.update(dict.fromkeys(("flip", "flips", "cut", "insert"), _bytes))
        for suffixes, more in _BY_SUFFIX.items():
            if path.suffix.lower() in suffixes:
                kinds.update({**more, **{f"{name} again": each for name, each in more.items()}})
    name = rng.choice(sorted(kinds))
    with contextlib.suppress(Exception):  # whatever reads it, if a mutation before has damaged it
        kinds[name](path, rng)
    return name


def _bytes(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    # Headers are short, so half of the places are near the start.
    place = rng.randrange(min(len(data), 200) if rng.random() < 0.5 else len(data)) if data else 0
    kind = rng.randrange(4)
    if kind == 0 and data:
        for _ in range(rng.choice((1, 1, 8, 64))):
            data[place] = rng.randrange(256)
            place = (place + rng.randrange(64)) % len(data)
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        data[place:place] = rng.randbytes(rng.choice((1, 4, 100)))
    else:
        data[place : place + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, b"\xff" * 4 + b"\0" * 4))
    path.write_bytes(data)


def _replace_file(path: Path, rng: random.Random) -> None:
    """Puts something else in place of the file."""
    kind = rng.choice(("empty", "none", "pipe", "folder", "dangling", "loop", "device", "unreadable bytes"))
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if kind == "empty":
        path.touch()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "device":
        path.symlink_to("/dev/zero")  # never replaced: inputs are only read
    elif kind == "unreadable bytes":
        path.write_bytes(rng.randbytes(1000))


def _rename(path: Path, rng: random.Random) -> None:
    name = rng.choice((b"a b", b"\xff", b"x" * 200, b"..x", b"a\nb", b"%d", b"'", b"-"))
    target = os.path.join(os.fsencode(path.parent), name + os.fsencode(path.suffix))
    os.rename(os.fsencode(path), target)


def _cycle(path: Path, rng: random.Random) -> None:
    for name in ("up", "up2")[: rng.randrange(1, 3)]:
        (path.parent / name).symlink_to(path.parent if rng.random() < 0.5 else path.parent.parent)


def _number(path: Path, rng: random.Random) -> None:
    """Replaces one number of a text."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    found = list(re.finditer(r"-?\d+(\.\d+)?", text))
    if found:
        place = rng.choice(found)
        _write(path, text[: place.start()] + rng.choice(NUMBERS) + text[place.end() :])


def _word(path: Path, rng: random.Random) -> None:
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    found = list(re.finditer(r"[A-Za-z_][\w./-]*", text))
    if found:
        place = rng.choice(found)
        _write(path, text[: place.start()] + rng.choice(WORDS + NUMBERS) + text[place.end() :])


def _line(path: Path, rng: random.Random) -> None:
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    place = rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(rng.randrange(len(lines)), lines[place])
    elif kind == 2:
        lines[place] = rng.choice(WORDS)
    else:
        lines[place] += " " + rng.choice(NUMBERS + WORDS)
    _write(path, "\n".join(lines))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def _node(path: Path, rng: random.Random) -> None:
    """Replaces, removes or doubles a value anywhere in a JSON file."""
    content = json.loads(path.read_text())
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in list(keys):
            places.append((node, key))
            collect(node[key])

    collect(content)
    node, key = rng.choice(places)
    if rng.random() < 0.2:
        del node[key]
    elif rng.random() < 0.2 and isinstance(node, list):
        node.append(node[key])
    else:
        node[key] = rng.choice((*VALUES, float("nan"), float("inf")))
    path.write_text(json.dumps(content))


def _nested(path: Path, rng: random.Random) -> None:
    path.write_text(rng.choice(("[" * 50_000, '{"a":' * 50_000, "[" * 900 + "]" * 900)))


def _laughs(path: Path, rng: random.Random) -> None:
    more = rng.choice((LAUGHS, "\na: &a [*a]\n", LAUGHS + "\nTEST: {<<: *a9}\n", "\n? {a: 1}\n: 2\n"))
    path.write_text(path.read_text() + more)


def _entities(path: Path, rng: random.Random) -> None:
    text = path.read_text()
    path.write_text(f"{ENTITIES}]>{text.replace('>', '>&i;', 1) if rng.random() < 0.5 else text}")


def _archive(path: Path, rng: random.Random) -> None:
    """Damages a member of a ZIP archive, or adds one."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    kind = rng.randrange(4)
    if kind == 0:
        members[name] = members[name][: rng.randrange(len(members[name]) + 1)]
    elif kind == 1:
        members[rng.choice(("../../escape", "/tmp/escape", "x/" + name))] = members[name]
    elif kind == 2:
        members[name] = bytes(3 * 10**8)
    else:
        data = bytearray(members[name])
        data[rng.randrange(len(data))] = rng.randrange(256)
        members[name] = bytes(data)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for each, content in members.items():
            archive.writestr(each, content)


def _arrays(path: Path, rng: random.Random) -> None:
    """Changes one array of an .npz or .npy; the result file beside an .npz keeps its checksum right."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    name = rng.choice(sorted(arrays))
    arrays[name] = _array(arrays[name], rng)
    np.savez(path, **arrays)
    result = path.with_name(path.name.replace(".outcomes.npz", ".json"))
    if result.is_file() and path != result:
        content = json.loads(result.read_text())
        content["outcomes"]["sha256"] = sha256(path)
        result.write_text(json.dumps(content))


def _array(array: np.ndarray, rng: random.Random) -> np.ndarray:
    kind = rng.randrange(6)
    if kind == 0:
        return array[: len(array) // 2] if array.ndim else array.reshape(1)
    if kind == 1:
        return array.astype(rng.choice(("f4", "f8", "i1", "i8", "c16", "U3")))
    if kind == 2:
        return np.stack([array, array])
    if kind == 3:
        return np.zeros((0,) * array.ndim, array.dtype)
    changed = array.copy().reshape(-1)
    if changed.size and changed.dtype.kind in "fiu":
        info = np.finfo(changed.dtype) if changed.dtype.kind == "f" else np.iinfo(changed.dtype)
        values = [info.max, info.min, 1] + ([np.nan, np.inf] if changed.dtype.kind == "f" else [])
        changed[rng.randrange(changed.size)] = rng.choice(values)
    return changed.reshape(array.shape)


def _records(path: Path, rng: random.Random) -> None:
    records = np.load(path)
    name = rng.choice(records.dtype.names)
    values = records[name].reshape(-1)
    values[rng.randrange(len(values))] = rng.choice((-1, 0, 30000, -30000) if name == "class" else (-1, 2**31 - 1))
    if records[name].dtype.kind == "f":
        values[rng.randrange(len(values))] = rng.choice((np.nan, np.inf, 3e38, -3e38))
    file = io.BytesIO()
    np.save(file, records if rng.random() < 0.7 else np.stack([records, records]))
    path.write_bytes(file.getvalue())


def _weights(path: Path, rng: random.Random) -> None:
    arrays = params_file.read(path)
    name = rng.choice(sorted(arrays))
    kind = rng.randrange(5)
    if kind == 0:
        arrays[rng.choice(("arg:x", "nothing", "aux:", "arg:" + "x" * 70000))] = arrays.pop(name)
    elif kind == 1:
        del arrays[name]
    elif kind == 2:
        arrays[name] = arrays[name] * np.float32(rng.choice((1e30, -1e30, 0)))
    else:
        arrays[name] = arrays[name].copy()
        arrays[name].reshape(-1)[rng.randrange(arrays[name].size)] = rng.choice((np.nan, np.inf, -np.inf, 3e38))
    params_file.write(path, arrays)
    state = path.with_name(f"{path.stem}.state.npz")
    if state.is_file():  # of a checkpoint: keeps its checksum right
        with np.load(state) as file:
            np.savez(state, **{**file, "params_sha256": np.array(sha256(path))})


def _header(path: Path, rng: random.Random) -> None:
    """Writes a large number somewhere into the first bytes."""
    data = bytearray(path.read_bytes())
    place = rng.randrange(0, min(len(data), 160), 4)
    number = rng.choice((2**64 - 1, 2**63, 2**40, 2**31, 70000, 0))
    data[place : place + 8] = number.to_bytes(8, rng.choice(("little", "big")))
    path.write_bytes(data)


def _huge_picture(path: Path, rng: random.Random) -> None:
    """A real picture of too many pixels, or one whose header says so."""
    from PIL import Image

    size = rng.choice(((70000, 4), (4, 70000), (9000, 9000), (1, 1)))
    Image.new("RGB", size).save(path, rng.choice(("PNG", "BMP") if size[0] * size[1] < 10**6 else ("PNG",)))


_TEXT: dict[str, Mutation] = {"number": _number, "word": _word, "line": _line}
_ANY: dict[str, Mutation] = {"other file": _replace_file, "rename": _rename, "cycle": _cycle}
_BY_SUFFIX: dict[tuple[str, ...], dict[str, Mutation]] = {
    (".json", ".jsonl"): {**_TEXT, "node": _node, "nested": _nested},
    (".yaml",): {**_TEXT, "laughs": _laughs},
    (".xml",): {**_TEXT, "entities": _entities},
    (".txt", ".csv", ".ini"): _TEXT,
    (".zip",): {"archive": _archive, "header": _header},
    (".npz",): {"arrays": _arrays, "archive": _archive},
    (".npy",): {"records": _records, "header": _header},
    (".params",): {"weights": _weights, "header": _header},
    (".caffemodel", ".mat", ".gz", ".pth", ".safetensors"): {"header": _header},
    (".mp4", ".mkv", ".avi", ".mov", ".gif"): {"header": _header},
    (".jpg", ".jpeg", ".png", ".bmp", ".webp"): {"header": _header, "huge": _huge_picture},
}
