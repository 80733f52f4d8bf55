"""The methods whose bundled weights tests can use."""

from __future__ import annotations

from lib.methods import METHODS

# Methods whose bundled weights are not made yet (`make reproduce`). The commit that adds weights empties this; until
# then, tests/test_methods.py makes sure that they are not there.
AWAITED = ("dff_rfcn",)
BUNDLED = [name for name in METHODS if name not in AWAITED]
