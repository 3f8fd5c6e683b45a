"""Answers as the kernel reads them. Source: include/uapi/linux/fuse.h (protocol 7.9 and later), the same on every architecture.

The FUSE libraries offer C structures for these, but the Python bindings' ``struct stat`` is shorter than the C library's, which misplaces
whatever follows it. Packing an answer at once is also faster than setting a structure's members one by one.
"""

from __future__ import annotations

import stat
import struct

from fakecg.fs.nodes import BLOCK_SIZE, Attributes

FOPEN_DIRECT_IO = 1
NAME_MAX = 255

_ATTR = "QQQQQQIIIIIIIIII"  # struct fuse_attr
_ATTR_OUT = struct.Struct(f"=QII{_ATTR}")
_ENTRY_OUT = struct.Struct(f"=QQQQII{_ATTR}")
_OPEN_OUT = struct.Struct("=QII")
_DIRENT = struct.Struct("=QQII")
_STATFS_OUT = struct.Struct("=QQQQQIII28x")
_NSEC = 1_000_000_000


def _attr(attributes: Attributes) -> tuple[int, ...]:
    atime_s, atime_ns = divmod(attributes.atime_ns, _NSEC)
    mtime_s, mtime_ns = divmod(attributes.mtime_ns, _NSEC)
    ctime_s, ctime_ns = divmod(attributes.ctime_ns, _NSEC)
    return (
        *(attributes.ino, 0, 0, atime_s & _U64, mtime_s & _U64, ctime_s & _U64, atime_ns, mtime_ns, ctime_ns),
        *(attributes.mode, attributes.nlink, attributes.uid, attributes.gid, 0, BLOCK_SIZE, 0),
    )


_U64 = (1 << 64) - 1


def attr_out(attributes: Attributes, valid_s: int) -> bytes:
    """struct fuse_attr_out; the kernel may use it for ``valid_s`` seconds."""
    return _ATTR_OUT.pack(valid_s, 0, 0, *_attr(attributes))


def entry_out(node_id: int, attributes: Attributes, name_valid_s: int, attr_valid_s: int) -> bytes:
    """struct fuse_entry_out."""
    return _ENTRY_OUT.pack(node_id, 0, name_valid_s, attr_valid_s, 0, 0, *_attr(attributes))


def open_out(handle: int, flags: int = 0) -> bytes:
    """struct fuse_open_out."""
    return _OPEN_OUT.pack(handle, flags, 0)


def dirent(name: bytes, ino: int, kind: int, next_offset: int) -> bytes:
    """struct fuse_dirent, padded to 8 bytes."""
    entry = _DIRENT.pack(ino, next_offset, len(name), stat.S_IFMT(kind) >> 12) + name
    return entry + bytes(-len(entry) % 8)


def statfs_out() -> bytes:
    """struct fuse_statfs_out of a filesystem without blocks. Source: fs/libfs.c:simple_statfs."""
    return _STATFS_OUT.pack(0, 0, 0, 0, 0, BLOCK_SIZE, NAME_MAX, BLOCK_SIZE)
