#!/bin/sh
# Installs what the project needs and is not there yet: Debian packages (as root, or through sudo), and a virtual environment in .venv.
# Exit 5 with one line where FUSE cannot be had.
set -eu
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        echo "setup: cannot run as root: $*" >&2
        return 1
    fi
}

missing=""
need() { missing="$missing $1"; }
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || need python3
python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
if ! /sbin/ldconfig -p | grep -q 'libfuse\.so\.2'; then need libfuse2; fi
command -v fusermount3 >/dev/null || need fuse3
command -v unshare >/dev/null || need util-linux
if [ -n "$missing" ]; then
    echo "setup: installing$missing"
    as_root apt-get update -qq
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

[ -c /dev/fuse ] || as_root modprobe fuse 2>/dev/null || true
if [ ! -c /dev/fuse ]; then
    echo "setup: no /dev/fuse: load the kernel module fuse, or start the container with --device /dev/fuse --cap-add SYS_ADMIN" >&2
    exit 5
fi
if ! /sbin/ldconfig -p | grep -q 'libfuse\.so\.2'; then
    echo "setup: no libfuse: install the package libfuse2" >&2
    exit 5
fi

# fusermount3 reads it when an ordinary user unmounts; a minimal installation does not have it.
[ -e /etc/mtab ] || as_root ln -s ../proc/self/mounts /etc/mtab

if [ ! -e .venv/installed ] || [ pyproject.toml -nt .venv/installed ]; then
    [ -x .venv/bin/python ] || python3 -m venv .venv
    echo "setup: installing Python packages into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
    touch .venv/installed
fi
