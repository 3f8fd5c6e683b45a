"""Recorded cases that the emulator answers differently, and why.

They count as failed in the score. A case in here that passes is an error, and so is an entry that matches no case.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

#: (backend, case) patterns to reasons; ``*`` for every backend.
DEVIATIONS: dict[tuple[str, str], str] = {
    ("*", "inventory.json: zswap_param_writes: compressor ? 'lzo'"): "lz4 is the only compressor: lengths of another would be made up",
    ("*", "inventory.json: zswap_param_writes: compressor ? 'zstd'"): "lz4 is the only compressor: lengths of another would be made up",
    ("*", "inventory.json: zswap_param_writes: zpool ? 'zbud'"): "zsmalloc is the only allocator",
    ("mount", "write_matrix.json: mkdir 3000 long"): "the kernel's FUSE client takes names up to 1024 bytes",
    ("mount", "write_matrix.json: misc_fd_ops: sendfile_from"): "the kernel's FUSE client splices by file size, which is 0 here",
    ("mount", "events_lrugen0.json: inotify_dir: rmdir"): "the kernel's FUSE client also ends the watches of a removed directory",
    **{
        ("mount", f"write_matrix.json: fds_kept_across_rmdir: {name} write"): "pwrite on an O_RDONLY descriptor: only seq_file clears "
        "FMODE_PWRITE, for FUSE it is the plain EBADF"
        for name in ("memory.current", "memory.stat", "memory.events")
    },
}


def reason(backend: str, case: str) -> str | None:
    """Why a case is expected to differ; None if it is expected to pass."""
    for (backend_pattern, case_pattern), why in DEVIATIONS.items():
        if fnmatchcase(backend, backend_pattern) and fnmatchcase(case, case_pattern):
            return why
    return None
