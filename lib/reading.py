"""The border to files that others wrote: YAML, JSON, XML, NumPy archives, and paths that they contain.

Whatever a foreign library raises on a damaged or hostile file becomes an InputError with one line, and what could grow
without bounds has a limit, which the message states.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import yaml

from lib.errors import InputError, check_regular, quoted
from lib.files import replacing

LARGEST_INTEGER = 2**63 - 1  # in YAML and JSON
LARGEST_COORDINATE = 2.0**24  # of boxes, pixels; up to here, float32 holds every whole number
YAML_LENGTH = 2**17  # characters
YAML_NODES = 100_000  # after the expansion of aliases
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML text cannot contain
FOLDERS = 100_000  # below one folder
UNPACKED, RATIO = 2**28, 100  # an archive may unpack to this many bytes, or to RATIO times its size

_DOCTYPE = tuple("<!DOCTYPE".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))


@contextlib.contextmanager
def foreign(where: str | os.PathLike, problem: str, advice: str) -> Iterator[None]:
    """Turns whatever a foreign library raises in the block into an InputError: where, problem, reason and advice."""
    try:
        yield
    except InputError:
        raise
    except RecursionError as error:
        raise InputError(f"{where}: {problem} (nested too deeply); {advice}") from error
    except Exception as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{where}: {problem} ({why[:200]}); {advice}") from error


def read_bytes(path: str | os.PathLike, advice: str) -> bytes:
    """The content of a regular file. Raises InputError with the reason and `advice`."""
    with foreign(path, "cannot be read", advice):
        check_regular(path)
        return Path(path).read_bytes()


def escapes(name: str) -> bool:
    """Whether a path leads out of the folder that it is relative to."""
    return name.startswith(("/", "~")) or "\0" in name or (".." in name and ".." in name.split("/"))


def inside(root: str | os.PathLike, name: str, where: str) -> Path:
    """`root / name`. Raises InputError, prefixed by `where`, if that is not below `root`."""
    folder = os.path.abspath(root)
    path = os.path.abspath(os.path.join(folder, name))
    if "\0" in name or path == folder or os.path.commonpath([folder, path]) != folder:
        raise InputError(f"{where}: {quoted(name)} is not inside {root}; use a path below this folder")
    return Path(root, name)


def is_plain(name: str) -> bool:
    """Whether a name is one part of a path: letters, digits, blanks, _ . + - , and no . at the start."""
    return re.fullmatch(r"\w[\w .+-]*", name) is not None and len(name) <= 200


def walk(top: str | os.PathLike) -> Iterator[tuple[Path, list[str]]]:
    """(folder, names of its files) of `top` and all folders below it, in order; symbolic links are followed.

    Raises InputError for a link to a folder above it, an unreadable folder, and more than FOLDERS folders.
    """
    count = 0

    def folders(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[tuple[Path, list[str]]]:
        nonlocal count
        count += 1
        if count > FOLDERS:
            raise InputError(f"{top}: contains more than {FOLDERS} folders; remove symbolic links to folders")
        with foreign(folder, "cannot be listed", "check its permissions"):
            status = os.stat(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        identity = status.st_dev, status.st_ino
        if identity in above:
            raise InputError(f"{folder}: is a symbolic link to a folder above it; remove it")
        inner = [entry.name for entry in entries if entry.is_dir()]
        yield folder, [entry.name for entry in entries if not entry.is_dir()]
        for name in inner:
            yield from folders(folder / name, above | {identity})

    if os.path.isdir(top):
        yield from folders(Path(top), frozenset())


class YamlLoader(yaml.SafeLoader):
    """Rejects duplicate keys, of which YAML itself silently keeps the last, and numbers of more than 64 bits."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"{quoted(key.value)[1:-1]} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def whole(self, node: yaml.ScalarNode) -> int:
        value = self.construct_yaml_int(node)
        if abs(value) > LARGEST_INTEGER:
            raise yaml.constructor.ConstructorError(None, None, "a number of more than 64 bits", node.start_mark)
        return value


YamlLoader.add_constructor("tag:yaml.org,2002:int", YamlLoader.whole)


def parse_yaml(text: str, where: str | os.PathLike) -> Any:
    """The content of a YAML text. Raises InputError, with the line, if it is invalid or expands to too many nodes."""
    if len(text) > YAML_LENGTH:
        raise InputError(f"{where}: YAML of more than {YAML_LENGTH} characters; shorten it")
    loader = None
    with foreign(where, "invalid YAML", "correct it"):
        try:
            loader = YamlLoader(text)
            node = loader.get_single_node()
            if node is None:
                return None
            if _expanded(node, {}) > YAML_NODES:
                raise InputError(f"{where}: its aliases expand to more than {YAML_NODES} values; write them out")
            return loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            raise InputError(f"{where}{line}: invalid YAML: {' '.join(str(error.problem).split())[:200]}") from error
        finally:
            if loader is not None:
                loader.dispose()


def _expanded(node: yaml.Node, known: dict[yaml.Node, float]) -> float:
    """The number of nodes without aliases; infinite where a node contains itself."""
    if node not in known:
        known[node] = math.inf
        inner = node.value if isinstance(node, yaml.CollectionNode) else ()
        parts = (part for each in inner for part in (each if isinstance(each, tuple) else (each,)))
        known[node] = 1 + sum(_expanded(part, known) for part in parts)
    return known[node]


def parse_json(text: str | bytes, where: str | os.PathLike, advice: str) -> Any:
    """The content of a JSON text. Raises InputError, with the line, if it is broken or a number is not finite or has
    more than 64 bits: NaN and Infinity are not JSON.
    """

    def whole(digits: str) -> int:
        if len(digits) > 20 or abs(int(digits)) > LARGEST_INTEGER:
            raise ValueError(f"a number of more than 64 bits: {digits[:30]}")
        return int(digits)

    def real(digits: str) -> float:
        if not math.isfinite(float(digits)):
            raise ValueError(f"{digits[:30]} is not a finite number")
        return float(digits)

    with foreign(where, "broken JSON", advice):
        try:
            return json.loads(text, parse_int=whole, parse_float=real, parse_constant=real)
        except json.JSONDecodeError as error:
            raise InputError(f"{where}:{error.lineno}: broken JSON ({error.msg}); {advice}") from error


def read_json(path: str | os.PathLike, advice: str) -> Any:
    """The content of a JSON file; see `parse_json`. Raises InputError if it cannot be read."""
    content = read_bytes(path, advice)
    with foreign(path, "not UTF-8 text", advice):
        text = content.decode("utf-8-sig")
    return parse_json(text, path, advice)


def parse_xml(data: bytes, where: str | os.PathLike) -> ElementTree.Element:
    """The root of an XML document. Raises InputError, with the line, if it is broken or declares a document type, whose
    entities may expand without limit.
    """
    if any(mark in data for mark in _DOCTYPE):
        raise InputError(f"{where}:1: XML with a <!DOCTYPE>, which is not read; remove it")
    with foreign(f"{where}:1", "broken XML", "convert the file to UTF-8"):
        try:
            return ElementTree.fromstring(data)
        except ElementTree.ParseError as error:
            line = error.position[0]
            raise InputError(f"{where}:{line}: broken XML ({error}); repair or re-extract the file") from error


def load_arrays(path: str | os.PathLike, advice: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name; nothing is unpickled.

    Raises InputError if it is not one, is damaged, holds arrays of other sizes than their headers say, or unpacks to
    more than UNPACKED bytes and RATIO times its size.
    """
    with foreign(path, "not a NumPy archive, or damaged", advice):
        check_regular(path)
        with open(path, "rb") as raw, zipfile.ZipFile(raw) as archive:
            check_unpacked(archive, path, advice)
            for member in archive.infolist():
                with archive.open(member) as file:
                    version = np.lib.format.read_magic(file)
                    reader = f"read_array_header_{min(version[0], 2)}_0"
                    shape, _, dtype = getattr(np.lib.format, reader)(file)
                    size = math.prod(shape) * dtype.itemsize
                    if dtype.hasobject or min(shape, default=0) < 0 or size != member.file_size - file.tell():
                        raise ValueError(f"{member.filename} is {dtype} {shape}, but has {member.file_size} bytes")
            raw.seek(0)
            with np.load(raw, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}


def save_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> None:
    """Writes an .npz file. Unlike `np.savez`, it leaves no open archive behind on a full disk."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", kind) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def join(**groups: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Groups of arrays in one: each under `<group>/<name>`."""
    return {f"{group}/{name}": value for group, arrays in groups.items() for name, value in arrays.items()}


def split(arrays: Mapping[str, np.ndarray], *groups: str) -> list[dict[str, np.ndarray]]:
    """The arrays of each of these groups by name, which `join` has put together."""
    return [
        {name[len(group) + 1 :]: value for name, value in arrays.items() if name.startswith(f"{group}/")}
        for group in groups
    ]


def check_unpacked(archive: zipfile.ZipFile, path: str | os.PathLike, advice: str) -> None:
    """Raises InputError if an archive unpacks to more than UNPACKED bytes and to more than RATIO times its size."""
    check_size(sum(member.file_size for member in archive.infolist()), path, advice)


def check_size(size: int, path: str | os.PathLike, advice: str) -> None:
    """Raises InputError if a file unpacks to `size` bytes, more than UNPACKED and more than RATIO times its size."""
    if size > max(UNPACKED, RATIO * os.path.getsize(path)):
        raise InputError(f"{path}: unpacks to {size} bytes, more than {UNPACKED} and {RATIO} times its size; {advice}")
