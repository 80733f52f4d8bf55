"""Builds every Cython module under lib/, in place. They use plain memoryviews, so no numpy headers are needed.

`--force` builds them anew whatever the file times say. All else about the package is in pyproject.toml.
"""

import sys
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

setup(ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES, force="--force" in sys.argv))
