"""Tell what this machine has and lacks for mounting, and how to get it. Exit code 5 if a mount is not possible."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fakecg.abi.errors import UsageError
from fakecg.cli.main import INSTALL_HINT
from fakecg.fs import mountpoint
from fakecg.fs.library import EXIT_NO_FUSE, load_binding
from fakecg.fs.names import FS_SOURCE
from fakecg.fs.statfs_magic import ARCHITECTURES

FUSE_DEVICE = "/dev/fuse"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was found, what to do if it is not good; ``needed`` if no mount works without."""

    what: str
    good: bool
    found: str
    fix: str = ""
    needed: bool = False


def configure(parser: argparse.ArgumentParser) -> None:
    """There are no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print the findings."""
    findings = list(examine())
    for finding in findings:
        mark = "ok     " if finding.good else "MISSING" if finding.needed else "note   "
        print(f"{mark}  {finding.what}: {finding.found}{'' if finding.good or not finding.fix else f' -> {finding.fix}'}")
    return EXIT_NO_FUSE if any(finding.needed and not finding.good for finding in findings) else 0


def examine() -> Iterator[Finding]:
    """Look at everything."""
    version = platform.python_version()
    yield Finding("Python", sys.version_info >= (3, 11), version, "fakecg needs 3.11 or newer", needed=True)
    for module in ("lz4", "sortedcontainers"):
        there = find_spec(module) is not None
        yield Finding(module, there, "installed" if there else "absent", f"{INSTALL_HINT} {module}", True)
    yield _device()
    yield _library()
    yield from _helpers()
    yield _namespaces()
    yield _statfs()
    for entry in mountpoint.mount_table():
        if entry.source == FS_SOURCE:
            yield _mount(entry.mount_point)


def _mount(mount_point: str) -> Finding:
    what = f"mount {mount_point}"
    if mountpoint.is_stale(mount_point):
        return Finding(what, False, "stale: its server is gone", f"fakecg umount {mount_point}")
    pid = mountpoint.server_pid(mount_point)
    if pid is None:
        return Finding(what, False, "its server does not answer", f"fakecg umount --lazy {mount_point}")
    return Finding(what, True, f"served by process {pid}")


def _device() -> Finding:
    if not os.path.exists(FUSE_DEVICE):
        return Finding(FUSE_DEVICE, False, "absent", "modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN", True)
    if not os.access(FUSE_DEVICE, os.R_OK | os.W_OK):
        return Finding(FUSE_DEVICE, False, "not accessible for this user", f"as root: chmod 666 {FUSE_DEVICE}", True)
    return Finding(FUSE_DEVICE, True, "accessible", needed=True)


def _library() -> Finding:
    try:
        binding = load_binding()
    except UsageError as error:
        found, _, fix = str(error).partition(": apt-get")
        return Finding("libfuse", False, found, f"apt-get{fix}", True)
    return Finding("libfuse", True, f"version {binding._libfuse.fuse_version() / 10} through {binding.__name__}", needed=True)


def _helpers() -> Iterator[Finding]:
    root = os.geteuid() == 0
    helper = shutil.which("fusermount3") or shutil.which("fusermount")
    fix = "apt-get install fuse3"
    yield Finding("fusermount", helper is not None, helper or "absent", fix + (" (root does without)" if root else ""), needed=not root)
    if not root:
        try:
            allowed = "user_allow_other" in map(str.strip, Path("/etc/fuse.conf").read_text(encoding="utf-8").splitlines())
        except OSError:
            allowed = False
        yield Finding("--allow-other", allowed, "allowed" if allowed else "not allowed", "as root: echo user_allow_other >> /etc/fuse.conf")


def _namespaces() -> Finding:
    flags = ["--mount", "--pid", "--fork"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user", "--cgroup"])
    tool = shutil.which("unshare")
    if tool is None:
        return Finding("namespaces", False, "not tried, unshare is absent", "apt-get install util-linux")
    result = subprocess.run([tool, *flags, "true"], capture_output=True, text=True, check=False)
    good = result.returncode == 0
    found = "available" if good else result.stderr.strip()
    return Finding("namespaces for 'fakecg run'", good, found, "sysctl kernel.unprivileged_userns_clone=1, or run as root")


def _statfs() -> Finding:
    try:
        actions = Path("/proc/sys/kernel/seccomp/actions_avail").read_text(encoding="ascii").split()
    except OSError:
        actions = []
    good = platform.machine() in ARCHITECTURES and "user_notif" in actions
    found = "can be answered" if good else "tells the type of FUSE, which systemd-cgtop and below do not accept"
    return Finding("statfs under 'fakecg run'", good, found, "a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64")
