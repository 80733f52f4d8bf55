"""Builds every Cython module under lib/ (they use plain memoryviews, so no numpy headers are needed)."""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    ext_modules=cythonize(
        [Extension("*", ["lib/**/*.pyx"], extra_compile_args=["-O3", "-ffp-contract=off"])],
        compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True},
    )
)
