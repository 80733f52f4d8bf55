"""init.sh: the choice of Python, what it needs, and which steps a second run repeats."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.install.checkout import ROOT

NOWHERE = "http://127.0.0.1:9/simple"  # the discard port: nothing listens


@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "busybox"])
def test_every_shell_reads_the_script(shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not on this machine")
    command = [shell, "sh"] if shell == "busybox" else [shell]
    subprocess.run([*command, "-n", ROOT / "init.sh"], check=True)


def test_help_names_the_options(checkout):
    done = checkout.run("--help")
    assert done.returncode == 0 and done.stderr == ""
    assert "--python PROGRAM" in done.stdout and "./.venv" in done.stdout
    assert not (checkout.root / "build").exists()


@pytest.mark.parametrize("option", ["--gpus", "-x", "now"])
def test_unknown_option(checkout, option):
    assert f"unknown option '{option}'" in checkout.fails(option, status=2)


def test_gpu_needs_linux_on_x86(checkout):
    (checkout.programs / "uname").unlink(missing_ok=True)
    checkout.script("uname", "echo Darwin")
    assert "exists only for Linux on x86-64" in checkout.fails("--gpu", status=2)


def test_python_option_without_a_program(checkout):
    assert "--python needs a value, for example" in checkout.fails("--python", status=2)
    assert "--backend needs a value, for example" in checkout.fails("--backend", status=2)


# Without a compiler it stops right after the choice of Python.
@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        ({"python3.9": (3, 9, 18), "python3.11": (3, 11, 7), "python3.12": (3, 12, 1)}, "python3.11, 3.11.7"),
        ({"python3.9": (3, 9, 18), "python3.12": (3, 12, 1)}, "python3.12, 3.12.1"),
        ({"python3": (3, 13, 0), "python3.9": (3, 9, 18)}, "python3.9, 3.9.18"),
        ({"python3": (3, 10, 2)}, "python3, 3.10.2"),
        ({"python": (3, 12, 0), "python3": (3, 8, 1)}, "python, 3.12.0"),
        ({"torch": (0, 0, 0), "python3.14": (3, 14, 0), "python3.11": (3, 11, 7)}, "python3.11, 3.11.7"),
        ({"torch": (0, 0, 0), "python3.12": (3, 12, 0), "python3.13": (3, 13, 2)}, "python3.13, 3.13.2"),
        ({"torch": (0, 0, 0), "python3": (3, 15, 0), "python3.14": (3, 14, 0)}, "python3.14, 3.14.0"),
    ],
)
def test_it_takes_the_best_python_of_the_path(checkout, versions, chosen):
    for name, version in versions.items():
        checkout.python(name, version)
    done = checkout.run(*(["--backend=torch"] if "torch" in versions else []))
    assert f"{checkout.programs}/{chosen} (the first usable one on the PATH)" in done.stdout


def test_a_program_that_does_not_run_is_skipped(checkout):
    checkout.script("python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    checkout.python("python3.10", (3, 10, 13))
    assert "python3.10, 3.10.13" in checkout.run().stdout


def test_pyenv_is_searched_if_the_path_has_none(checkout):
    checkout.python("python3", (3, 13, 0))
    checkout.python(checkout.home / ".pyenv/versions/3.9.18/bin/python", (3, 9, 18))
    checkout.python(checkout.home / ".pyenv/versions/3.10.13/bin/python", (3, 10, 13))
    checkout.python(checkout.home / ".pyenv/versions/3.7.16/bin/python", (3, 7, 16))
    assert ".pyenv/versions/3.10.13/bin/python, 3.10.13 (from pyenv: none on the PATH" in checkout.run().stdout


def test_python_option(checkout):
    checkout.python("python3.11", (3, 11, 7))
    checkout.python("mine", (3, 9, 1))
    checkout.python("new", (3, 14, 0))
    assert "mine, 3.9.1 (from --python)" in checkout.run("--python", "mine").stdout
    assert "3.14.0, newer than 3.12, the last with a package of MXNet (--backend torch works with 3.14)" in (
        checkout.fails("--python=new")
    )
    assert "new, 3.14.0 (from --python)" in checkout.run("--backend=torch", "--python=new").stdout
    checkout.python("new", (3, 15, 0))
    assert "not a usable Python 3.9 to 3.14" in checkout.fails("--backend=torch", "--python=new")
    assert "it does not run" in checkout.fails("--python", "nothing")


def test_no_python_at_all(checkout):
    line = checkout.fails()
    assert "no usable Python 3.9 to 3.12: none found on the PATH or under pyenv" in line


def test_no_usable_python_names_those_found(checkout):
    checkout.python("python3", (3, 13, 1))
    checkout.python("python", (2, 7, 18))
    line = checkout.fails()
    assert f"{checkout.programs}/python3 is 3.13.1, newer than 3.12" in line
    assert f"{checkout.programs}/python is 2.7.18, older than 3.9" in line
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize("missing", ["gcc", "g++"])
def test_no_compiler(checkout, missing):
    checkout.python("python3.11", (3, 11, 7))
    checkout.compilers()
    (checkout.programs / missing).unlink()
    assert f"no compiler: {missing} not found; install gcc and g++" in checkout.fails()
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize(("variable", "kind"), [("VIRTUAL_ENV", "venv"), ("CONDA_PREFIX", "conda environment")])
def test_the_active_environment_is_used(checkout, variable, kind):
    checkout.python("python3.11", (3, 11, 7))
    mine = checkout.python(checkout.home / "mine/bin/python", (3, 10, 5)).parents[1]
    done = checkout.run(**{variable: str(mine)})
    assert f"{mine}/bin/python, 3.10.5 (from the active {kind})" in done.stdout
    assert f"the {kind} {mine} is active" in checkout.fails("--python", "python3.11", status=2, **{variable: str(mine)})


def test_an_active_environment_that_cannot_be_used(checkout):
    checkout.python("python3.11", (3, 11, 7))
    mine = checkout.python(checkout.home / "mine/bin/python", (3, 13, 5)).parents[1]
    assert "3.13.5, newer than 3.12" in checkout.fails(VIRTUAL_ENV=str(mine))
    gone = checkout.home / "gone"
    assert f"{gone}/bin/python does not run" in checkout.fails(VIRTUAL_ENV=str(gone))


def test_a_venv_of_an_unusable_python_is_not_touched(checkout):
    checkout.python("python3.11", (3, 11, 7))
    checkout.python(checkout.root / ".venv/bin/python", (3, 13, 0))
    assert ".venv/bin/python is 3.13.0, newer than 3.12" in checkout.fails()
    checkout.python(checkout.root / ".venv/bin/python", (3, 10, 0))
    assert "./.venv has Python 3.10.0, not --python python3.11" in checkout.fails("--python", "python3.11")


def test_no_network(checkout):
    checkout.compilers()
    script = f'case $1 in lib/usable.py) echo 3.11.7 ;; *) exec {sys.executable} "$@" ;; esac'
    checkout.script(checkout.home / "venv/bin/python", script)
    # A version that no environment has, so that pip must ask the index; it gets no answer, so it changes nothing.
    (checkout.root / "constraints.txt").write_text("cython==3.0.0a0\n")
    settings = {"PIP_INDEX_URL": NOWHERE, "PIP_RETRIES": "1", "PIP_CONFIG_FILE": os.devnull}
    line = checkout.fails(VIRTUAL_ENV=str(checkout.home / "venv"), **settings)
    assert "no network: pip could not reach its package index for setuptools and Cython" in line


def test_a_second_run_installs_and_builds_nothing(installed):
    first = installed.pip_calls()
    assert first[:2] == ["setuptools cython", "-r build/requirements.txt"]
    assert len(first) == 3 and first[2].endswith("--no-build-isolation -e .")
    assert installed.pip_calls() == []


def test_folders_and_the_path_of_the_python_are_created(installed):
    installed.pip_calls()
    for name in ("output", "model/pretrained_model"):
        assert (installed.root / name).is_dir()
    assert (installed.root / ".python-path").read_text() == f"{installed.home}/venv/bin/python\n"


@pytest.mark.parametrize(
    ("change", "calls"),
    [
        (lambda at: (at.root / "constraints.txt").write_text("numpy==1.26.4\n"), 2),
        (lambda at: (at.root / "lib/nms/fast.pyx").write_text("x = 1\n"), 1),
        (lambda at: at.module.unlink(), 1),
        (lambda at: at.root.joinpath("pyproject.toml").open("a").write("\n# more\n"), 3),
    ],
    ids=["constraints", "source", "module removed", "pyproject"],
)
def test_what_changed_is_done_again(installed, change, calls):
    installed.pip_calls()
    change(installed)
    assert len(installed.pip_calls()) == calls
    assert installed.pip_calls() == []


def test_after_a_failed_check_the_next_run_repeats_every_step(installed):
    installed.pip_calls()
    broken = installed.root / "lib/backends/mxnet/library.py"
    broken.write_text("def load(): raise OSError('libmxnet.so: cannot open')")
    line = installed.fails(VIRTUAL_ENV=str(installed.home / "venv"))
    assert "mxnet does not import: OSError: libmxnet.so: cannot open" in line
    broken.write_text("def load(): pass")
    assert len(installed.pip_calls()) == 3


def test_gpu_replaces_the_cpu_build_once(installed):
    installed.script("uname", "case $1 in -s) echo Linux ;; -m) echo x86_64 ;; esac")
    card = {"CARD": "report on the card", "STATUS": "0"}
    first = installed.pip_calls("--gpu", **card)
    assert first[0].endswith("pip uninstall --yes mxnet mxnet-cu112")
    assert first[1:3] == ["-r requirements-gpu.txt", "setuptools cython"]
    assert installed.pip_calls("--gpu", **card) == []
    assert installed.pip_calls() == []


def test_gpu_without_kernels_for_the_card_changes_nothing(installed):
    installed.script("uname", "case $1 in -s) echo Linux ;; -m) echo x86_64 ;; esac")
    installed.calls.write_text("")
    settings = {"VIRTUAL_ENV": str(installed.home / "venv"), "CARD": "GPU 0: X: NO kernels for it", "STATUS": "1"}
    assert "--gpu: GPU 0: X: NO kernels for it" in installed.fails("--gpu", **settings)
    assert installed.calls.read_text() == ""
