"""Prints the version of the Python that runs this and, if init.sh cannot use it, why.

    PYTHON lib/usable.py NEWEST ["to make .venv"]     # NEWEST: the minor number of the newest Python that will do

Any Python must be able to run it, Python 2 too.
"""

import os
import platform
import sys
import sysconfig

version, newest, why = sys.version_info[:3], int(sys.argv[1]), ""
if version < (3, 9):
    why = "older than 3.9"
elif version[:2] > (3, newest):
    why = f"newer than 3.{newest}"
    if newest < 14:
        why += ", the last with a package of MXNet (--backend torch works with {}.{})".format(*version)
elif platform.python_implementation() != "CPython":
    why = "not CPython"
elif not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    why = "missing its headers (python3-dev)"
elif sys.argv[2:] == ["to make .venv"]:
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        why = "missing venv (python3-venv)"
print(".".join(map(str, version)) + (", " + why if why else ""))
