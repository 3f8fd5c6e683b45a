"""Reading memory.current through a mount, against the leanest filesystem that fusepy can serve, and while another process reclaims.

The lean filesystem is a plain object with the three callbacks that a read needs, once with fusepy's threads (its default, which a slow
write does not stall) and once with a single thread. Every server is a process of its own; rounds alternate.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.pairing import arguments, report, timed

OPERATIONS = 2000
IDLE_READS = 5000


def serve_lean(mount_point: str, threads: str) -> None:
    """The leanest filesystem: one directory with one file."""
    import errno
    import stat

    import fuse

    class Lean:
        use_ns = True

        def __call__(self, name, *arguments):  # type: ignore[no-untyped-def]
            return getattr(self, name)(*arguments)

        def getattr(self, path, handle=None):  # type: ignore[no-untyped-def]
            if path == "/":
                return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
            if path == "/memory.current":
                return {"st_mode": stat.S_IFREG | 0o444, "st_nlink": 1}
            raise fuse.FuseOSError(errno.ENOENT)

        def open(self, path, flags):  # type: ignore[no-untyped-def]
            return 1

        def read(self, path, size, offset, handle):  # type: ignore[no-untyped-def]
            return b"67108864\n"[offset : offset + size]

    fuse.FUSE(Lean(), mount_point, foreground=True, nothreads=threads == "1", direct_io=True)


@contextmanager
def lean(threads: str) -> Iterator[bytes]:
    """Path of the lean filesystem's file."""
    with tempfile.TemporaryDirectory(prefix="fakecg-bench-") as mount_point:
        server = subprocess.Popen([sys.executable, "-m", "benchmarks.bench_files", "--lean", mount_point, threads])
        path = os.path.join(mount_point, "memory.current")
        while not os.path.exists(path):
            if server.poll() is not None:
                raise SystemExit("the lean filesystem did not mount")
            time.sleep(0.01)
        try:
            yield path.encode()
        finally:
            subprocess.run(["umount", mount_point], check=True)
            server.wait()


@contextmanager
def mount(*options: str) -> Iterator[Path]:
    """A mount of ours."""
    with tempfile.TemporaryDirectory(prefix="fakecg-bench-") as mount_point:
        subprocess.run([sys.executable, "-m", "fakecg", "mount", mount_point, *options], check=True)
        try:
            yield Path(mount_point)
        finally:
            subprocess.run([sys.executable, "-m", "fakecg", "umount", mount_point], check=True)


def open_read_close(path: bytes) -> None:
    for _ in range(OPERATIONS):
        descriptor = os.open(path, os.O_RDONLY)
        os.read(descriptor, 4096)
        os.close(descriptor)


def read_again(path: bytes) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    for _ in range(OPERATIONS):
        os.pread(descriptor, 4096, 0)
    os.close(descriptor)


def compare(seed: int, repeat: int) -> None:
    """Both kinds of reading, against both lean filesystems."""
    with ExitStack() as stack:
        ours = stack.enter_context(mount("--seed", str(seed)))
        (ours / "job").mkdir()
        file = os.fsencode(ours / "job" / "memory.current")
        leans = {"threads": stack.enter_context(lean("n")), "one thread": stack.enter_context(lean("1"))}
        for name, work in (("open+read+close", open_read_close), ("pread", read_again)):
            times: dict[str, list[float]] = {"ours": [], **{kind: [] for kind in leans}}
            for _ in range(repeat):
                times["ours"].append(timed(lambda work=work: work(file)))  # type: ignore[misc]
                for kind, path in leans.items():
                    times[kind].append(timed(lambda work=work, path=path: work(path)))  # type: ignore[misc]
            for kind in leans:
                report(f"{name}, lean with {kind}", OPERATIONS, times["ours"], times[kind], target="(>= 0.67)")


def read_latencies(path: bytes, *, count: int | None = None, writer: subprocess.Popen[bytes] | None = None) -> list[float]:
    """Sorted seconds of single reads: ``count`` of them, or until the writer ends."""
    latencies = []
    while writer.poll() is None if writer is not None else len(latencies) < (count or 0):
        start = time.perf_counter()
        descriptor = os.open(path, os.O_RDONLY)
        os.read(descriptor, 4096)
        os.close(descriptor)
        latencies.append(time.perf_counter() - start)
    return sorted(latencies)


def percentile(values: list[float], share: float) -> float:
    """A percentile of sorted values."""
    return values[min(len(values) - 1, int(len(values) * share))]


def during_reclaim(seed: int, size: int, content: str, repeat: int) -> None:
    """p50, p99 and maximum of a read, idle and while another process reclaims ``size`` bytes."""
    ratios = []
    for round_number in range(repeat):
        with mount("--ram", str(4 * size), "--swap", str(4 * size), "--seed", str(seed + round_number)) as ours:
            (ours / "job").mkdir()
            spawn = [sys.executable, "-m", "fakecg", "spawn", str(ours), "/job", "--size", str(size), "--content", content]
            subprocess.run(spawn, check=True, stdout=subprocess.DEVNULL)
            path = os.fsencode(ours / "job" / "memory.current")
            idle = read_latencies(path, count=IDLE_READS)
            writer = subprocess.Popen(["sh", "-c", f"echo {size - size // 16} > '{ours}/job/memory.reclaim'"])
            start = time.perf_counter()
            busy = read_latencies(path, writer=writer)
            seconds = time.perf_counter() - start
            if writer.returncode:
                raise SystemExit("memory.reclaim failed")
        ratios.append(percentile(busy, 0.99) / percentile(idle, 0.99))
        for name, values in (("idle", idle), (f"during reclaim ({seconds:.1f} s)", busy)):
            shares = (("p50", 0.5), ("p99", 0.99), ("max", 1))
            shown = "  ".join(f"{label} {percentile(values, share) * 1e6:8.0f} us" for label, share in shares)
            print(f"{'read, ' + name:<34} n={len(values):<8} {shown}")
    print(f"{'p99 during reclaim / p99 idle':<34} n={repeat:<8} best {min(ratios):.1f}  median {statistics.median(ratios):.1f}")


def main() -> None:
    if sys.argv[1:2] == ["--lean"]:
        serve_lean(*sys.argv[2:4])
        return
    options = arguments(__doc__ or "", size="1G")
    compare(options.seed, options.repeat)
    during_reclaim(options.seed, options.size, options.content, max(1, options.repeat // 2))


if __name__ == "__main__":
    main()
