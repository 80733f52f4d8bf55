#!/bin/sh
# Installs FGFA: sh init.sh --help
set -u

usage() {
    cat <<'TEXT'
usage: sh init.sh [--backend NAME] [--gpu] [--python PROGRAM]

Sets up this checkout: installs the pinned packages, builds the Cython modules and the operator
library, creates the output folders, and checks that everything imports. It installs into the active
venv or conda environment, or else into ./.venv. Run it again at any time: finished steps are skipped.

  --backend NAME    what executes the networks: mxnet, torch or both. The first time mxnet, later what
                    the environment already has
  --gpu             install the backend for NVIDIA GPUs, with its CUDA libraries (2 to 3 GB to download).
                    Needs the NVIDIA driver, but no CUDA toolkit. With mxnet, stops if MXNet has no
                    kernels for the GPU of this machine
  --python PROGRAM  create ./.venv with this Python instead of searching for one
  -h, --help        show this text

Needs Python 3.9 to 3.12 (with --backend torch to 3.14) with its headers, gcc and g++, and a network
connection the first time. docs/install.md lists the platforms and says what was tested.
TEXT
}

say() { printf '%s\n' "$*"; }
step() { printf '[%s/7] %s\n' "$1" "$2"; }
fail() { printf 'error: %s\n' "$2" >&2 && exit "$1"; }
die() { fail 1 "$*"; }
misuse() { fail 2 "$*"; }

wanted=
gpu=
backend=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage && exit 0 ;;
    --python | --backend)
        [ $# -ge 2 ] || misuse "$1 needs a value, for example --python python3.11 or --backend torch"
        option=$1=$2 && shift 2 && set -- "$option" "$@"
        continue
        ;;
    --python=*) wanted=${1#--python=} ;;
    --backend=*) backend=${1#--backend=} ;;
    --gpu) gpu=1 ;;
    *) misuse "unknown option '$1'; sh init.sh --help lists the options" ;;
    esac
    shift
done

cd "$(dirname "$0")" || die "cannot enter the folder of init.sh"
root=$(pwd)
home=${VIRTUAL_ENV:-${CONDA_PREFIX:-$root/.venv}}
python=$home/bin/python

# What the environment was set up for, until --backend changes it. A failed check does not remove it, unlike .fgfa-*.
chosen=$home/.fgfa_backend
[ -n "$backend" ] || backend=$(cat "$chosen" 2>/dev/null) || backend=mxnet
case "$backend,$(uname -s) $(uname -m),$gpu" in
mxnet,Darwin\ arm64,* | both,Darwin\ arm64,*) misuse "MXNet has no package for Apple Silicon; run sh init.sh --backend torch" ;;
torch,Darwin\ x86_64,* | both,Darwin\ x86_64,*) misuse "PyTorch has had no package for macOS on Intel since 2.2, and 2.6 is needed; run sh init.sh --backend mxnet" ;;
both,*,1) misuse "--gpu installs the CUDA build of one backend; add --backend mxnet or --backend torch" ;;
mxnet,Linux\ x86_64,* | mxnet,*, | torch,Linux*,* | torch,*, | both,*) ;;
mxnet,*) misuse "--gpu: MXNet's CUDA build exists only for Linux on x86-64; run sh init.sh without --gpu" ;;
torch,*) misuse "--gpu: PyTorch's CUDA build is installed only on Linux; run sh init.sh without --gpu" ;;
*) misuse "--backend $backend: choose mxnet, torch or both" ;;
esac
case $backend in
torch) constraints=constraints-torch.txt newest=14 names="python3.13 python3.12 python3.11 python3.10 python3.14 python3.9" ;;
*) constraints=constraints.txt newest=12 names="python3.11 python3.10 python3.12 python3.9" ;;
esac
started=$(date +%s)
mkdir -p build || die "$root is not writable"
log=$root/build/init.log # output of the last command that ran through `quietly`

child=
interrupted() {
    [ -z "$child" ] || kill "$child" 2>/dev/null
    printf '\nerror: interrupted; run sh init.sh again to continue\n' >&2
    exit 130
}
trap interrupted INT TERM HUP

# quietly COMMAND...: runs it with its output in the log; on a terminal, shows the time and the log's last line.
quietly() {
    "$@" >"$log" 2>&1 </dev/null &
    child=$!
    if [ -t 1 ]; then
        seconds=0
        while kill -0 "$child" 2>/dev/null; do
            printf '\r\033[K      %s s  %.60s' "$seconds" "$(tail -n 1 "$log" | tr -d '\r' | tr '\t' ' ')"
            sleep 1
            seconds=$((seconds + 1))
        done
        printf '\r\033[K'
    fi
    wait "$child"
    status=$?
    child=
    return "$status"
}

# install WHAT ARGUMENTS...: runs pip with the constraints; a failure is reported on one line.
install() {
    what=$1
    shift
    quietly "$python" -m pip install --no-input --disable-pip-version-check -c "$constraints" "$@" && return
    if grep -qE 'ConnectionError|ConnectTimeout|ReadTimeout|NameResolution|ProxyError|SSLError|MaxRetry|RemoteDisconnected|ConnectionReset|unreachable' "$log"; then
        die "no network: pip could not reach its package index for $what; check the connection (or set PIP_INDEX_URL to a mirror) and run sh init.sh again; the output of pip is in $log"
    fi
    die "pip could not install $what: $(grep -i error "$log" | tail -n 1 | cut -c 1-300); the output of pip is in $log"
}

remove() {
    quietly "$python" -m pip uninstall --yes "$@" || die "pip could not remove the installed $1: $(tail -n 1 "$log")"
}

# ---------------------------------------------------------------- Python
rejected=
# try PROGRAM PLACE [USE]: true if PROGRAM is a usable Python; sets $base, $version and $place.
try() {
    base=$(command -v "$1" 2>/dev/null) && version=$("$base" lib/usable.py "$newest" ${3:+"$3"} 2>/dev/null) || return 1
    place=$2
    case $version in
    *,*) rejected="${rejected:+$rejected; }$base is $version" ;;
    ?*) return 0 ;;
    esac
    return 1
}

# find_python: the first usable Python on the PATH, or else under pyenv.
find_python() {
    for name in $names python3 python; do
        try "$name" "the first usable one on the PATH" "to make .venv" && return 0
    done
    for name in $names; do
        for file in "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/${name#python}".*/bin/python; do
            try "$file" "from pyenv: none on the PATH is usable" "to make .venv" && return 0
        done
    done
    return 1
}

unusable="create an environment with Python 3.9 to 3.$newest, or deactivate this one to use ./.venv"
[ "$home" != "$root/.venv" ] || unusable="deactivate and remove it, then run this again with --python and Python 3.9 to 3.$newest"
step 1 "Python"
if [ -n "${VIRTUAL_ENV:-}" ] || [ -n "${CONDA_PREFIX:-}" ]; then
    if [ -n "${VIRTUAL_ENV:-}" ]; then kind=venv; else kind="conda environment"; fi
    [ -z "$wanted" ] || misuse "--python is for creating ./.venv, but the $kind $home is active; deactivate it first"
    try "$python" "from the active $kind" ||
        die "the active $kind $home has no usable Python (${rejected:-$python does not run}); $unusable"
else
    kind=
    if [ -x "$python" ] && try "$python" "from the existing ./.venv"; then
        made=$version
        if [ -n "$wanted" ]; then
            try "$wanted" "from --python" && [ "$version" = "$made" ] ||
                die "./.venv has Python $made, not --python $wanted; remove .venv to create it again"
        fi
        base=$python place="from the existing ./.venv"
    elif [ -n "$rejected" ]; then
        die "$rejected; remove .venv to create it again"
    elif [ -n "$wanted" ]; then
        try "$wanted" "from --python" "to make .venv" ||
            die "--python $wanted: not a usable Python 3.9 to 3.$newest (${rejected:-it does not run})"
    else
        find_python ||
            die "no usable Python 3.9 to 3.$newest: ${rejected:-none found on the PATH or under pyenv}; install one (Debian, Ubuntu: apt install python3 python3-venv python3-dev) or give one with --python"
    fi
fi
say "      $base, $version ($place)"

# ---------------------------------------------------------------- compiler
step 2 "C and C++ compiler"
for compiler in "${CC:-gcc}" "${CXX:-g++}"; do
    # CC may contain options after the program's name.
    command -v "${compiler%% *}" >/dev/null 2>&1 ||
        die "no compiler: ${compiler%% *} not found; install gcc and g++ (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install)"
done
say "      $(command -v "${CC:-gcc}"), $(command -v "${CXX:-g++}")"

# ---------------------------------------------------------------- environment
step 3 "environment"
if [ -n "$kind" ]; then
    say "      the active $kind $home"
elif [ "$base" = "$python" ]; then
    say "      the existing ./.venv"
else
    say "      creating ./.venv"
    quietly "$base" -m venv --clear "$home" ||
        die "$base could not create ./.venv: $(tail -n 1 "$log" | cut -c 1-300); the whole output is in $log"
fi
if ! "$python" -c 'import pip' 2>/dev/null; then
    say "      adding pip, which it lacks"
    quietly "$python" -m ensurepip || die "$home has no pip, and python -m ensurepip failed; its output is in $log"
fi
printf '%s\n' "$python" >.python-path # the Makefile reads it
printf '%s\n' "$backend" >"$chosen"

# A step is done if its stamp in the environment has the checksum of what it was made from.
sum() { { printf '%s\n' "$root" "$version" "$backend" && cat "$@"; } | cksum; }
stamped() { [ -f "$home/.fgfa-$1" ] && [ "$(cat "$home/.fgfa-$1")" = "$2" ]; }
stamp() { printf '%s\n' "$2" >"$home/.fgfa-$1"; }

# ---------------------------------------------------------------- packages
step 4 "packages of $constraints, for the backend $backend"
packages=$(sum "$constraints" constraints-common.txt pyproject.toml)
if [ "$backend" = torch ] && ! stamped packages "$packages"; then
    remove mxnet mxnet-cu112
    ! grep -q Successfully "$log" || say "      removed MXNet, which does not work with numpy 2 (--backend both keeps it)"
fi
if [ -n "$gpu" ] && [ "$backend" = mxnet ]; then
    # First the GPU: if it is not supported, nothing is downloaded. Without a driver, as when building an image,
    # everything is installed, and the last step reports that MXNet could not be tried.
    card=$("$python" -m lib.cuda --card) || die "--gpu: ${card:-lib/cuda.py did not run}"
    say "      $card"
    cuda=$(sum constraints.txt requirements-gpu.txt)
    if ! stamped gpu "$cuda"; then
        say "      MXNet for CUDA 11.2, CUDA 11 and cuDNN 8 (2.1 GB to download, 3.7 GB on disk)"
        # The CPU build and the CUDA build are two packages with the same files.
        remove mxnet mxnet-cu112
        install "the CUDA build of MXNet" -r requirements-gpu.txt
        stamp gpu "$cuda"
    fi
elif [ -n "$gpu" ]; then
    ! "$python" -m lib.install has-cpu-torch || remove torch
    say "      PyTorch for CUDA (3 GB to download, 5.7 GB on disk)"
    install "the CUDA build of PyTorch" torch
elif [ "$backend" != mxnet ] && [ "$(uname -s)" = Linux ] && ! stamped packages "$packages"; then
    # PyPI has PyTorch for Linux only with CUDA. Where the index of the small builds is out of reach, that one works too.
    say "      PyTorch for the CPU (200 MB to download)"
    quietly "$python" -m pip install --no-input --disable-pip-version-check --retries 1 --timeout 15 -c "$constraints" \
        --no-deps --index-url https://download.pytorch.org/whl/cpu torch ||
        say "      not available from download.pytorch.org: installing PyPI's build with CUDA (3 GB to download, 5.7 GB on disk)"
fi
if stamped packages "$packages"; then
    say "      up to date"
else
    install "setuptools and Cython" setuptools cython
    quietly "$python" -m lib.install requirements "$backend" || die "pyproject.toml could not be read: $(tail -n 1 "$log")"
    grep -q opencv-python-headless build/requirements.txt || say "      keeping the installed opencv-python, which works"
    say "      OpenCV, PyAV, SciPy, the backend and more, and the test tools (about 300 MB to download, 1 to 2 minutes)"
    install "the packages" -r build/requirements.txt
    stamp packages "$packages"
fi

# ---------------------------------------------------------------- builds
# failure: the line of the log with the cause of a failed build: a compiler's FILE:LINE:COLUMN:, or the last error.
failure() {
    { grep -E '[^ ]+:[0-9]+:[0-9]+: ' "$log" | grep -vE ': (warning|note):' || grep -iE 'error|no space' "$log" | tail -n 1; } |
        head -n 1 | sed 's/^ *//' | cut -c 1-300
}

step 5 "Cython modules and packages of this checkout (pip install --editable)"
modules=$(find lib -name '*.pyx' | sort)
# shellcheck disable=SC2086  # here and below $modules is split on purpose: no path under lib/ contains a space
sources=$(sum setup.py pyproject.toml $modules)
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
missing=
for module in $modules; do
    [ -f "${module%.pyx}$suffix" ] || missing=$module
done
if [ -z "$missing" ] && stamped modules "$sources"; then
    say "      up to date"
else
    # shellcheck disable=SC2086
    say "      building" $modules
    # Cython compares file times, which do not change with its flags or its version: remove what it wrote before.
    # shellcheck disable=SC2046,SC2086
    rm -f $(printf '%s\n' $modules | sed 's/pyx$/c/')
    quietly "$python" -m pip install --no-input --disable-pip-version-check --no-deps --no-build-isolation -e . ||
        die "the Cython modules did not build: $(failure); the whole output is in $log"
    stamp modules "$sources"
fi

step 6 "operator library"
quietly "$python" -m lib.ops.build ||
    die "the operator library did not build: $(failure); the whole output is in $log"
say "      $(head -n 1 "$log")"

# ---------------------------------------------------------------- check
if [ -n "$gpu" ] && [ "$backend" = mxnet ]; then
    quietly "$python" -m lib.cuda || die "$(tail -n 1 "$log" | cut -c 1-300)"
    say "      $(tail -n 1 "$log")"
fi
step 7 "folders output and model/pretrained_model, and an import check"
mkdir -p output model/pretrained_model || die "cannot create folders in $root"
# In another folder, so that the installed packages are imported.
# shellcheck disable=SC2046,SC2086
if ! (cd build && quietly "$python" -m lib.install check "$backend" ${gpu:+--gpu} $(printf '%s\n' $modules | sed 's/\.pyx$//; s|/|.|g')); then
    rm -f "$home"/.fgfa-* # so that the next run repeats every step
    die "$(tail -n 1 "$log" | cut -c 1-300); run sh init.sh again, which repeats the installation and the builds"
fi
say "      $(tail -n 1 "$log")"

say "Done in $(($(date +%s) - started)) s. Next:"
[ -n "$kind" ] || say "  . .venv/bin/activate      use it in this shell"
say "  make demo                 detect objects in the bundled clip"
say "  make test                 run the tests"
