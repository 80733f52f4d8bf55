"""Builds every Cython module under lib/. They use plain memoryviews, so no numpy headers are needed.

All else about the package is in pyproject.toml; `sh init.sh` calls this by `pip install --editable .`.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# No fused multiply-add: the modules must round as their numpy references do.
FLAGS = ["-O3", "-ffp-contract=off"]
DIRECTIVES = {"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True}

sources = sorted(Path("lib").rglob("*.pyx"))
extensions = [
    Extension(".".join(source.with_suffix("").parts), [source.as_posix()], extra_compile_args=FLAGS)
    for source in sources
]

setup(
    ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES),
    options={"build_ext": {"parallel": os.cpu_count()}},
)
