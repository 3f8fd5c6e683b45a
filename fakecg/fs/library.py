"""The FUSE library itself: finding it, its structures and prototypes, and what it has to say.

It is reached through fusepy (libfuse 2) or mfusepy (libfuse 3), of which only the library handle and a few structures are used.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from fakecg.abi.errors import UsageError

EXIT_NO_FUSE = 5


def load_binding() -> ModuleType:
    """The installed Python binding: fusepy, else mfusepy.

    Raises:
        UsageError: neither works, with what to do (exit code 5).
    """
    problems = []
    for name in ("fuse", "mfusepy"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        except OSError as error:  # the binding is there, its library is not
            problems.append(f"{name}: {error}")
            continue
        if not hasattr(module, "fuse_file_info") or not hasattr(module, "_libfuse"):
            problems.append(f"{name}: not fusepy")
        elif name == "fuse" and module._libfuse.fuse_version() >= 30:
            problems.append("fusepy works with libfuse 2 only, for libfuse 3 there is mfusepy")
        else:
            return module
    reason = "; ".join(problems) or "no Python binding"
    raise UsageError(f"FUSE is missing ({reason}): apt-get install libfuse2 fuse3, pip install fusepy", EXIT_NO_FUSE)


class Args(ctypes.Structure):
    """struct fuse_args."""

    _fields_ = [("argc", ctypes.c_int), ("argv", ctypes.POINTER(ctypes.c_char_p)), ("allocated", ctypes.c_int)]


class Buffer(ctypes.Structure):
    """struct fuse_buf of libfuse 3."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("mem", ctypes.c_void_p),
        ("fd", ctypes.c_int),
        ("pos", ctypes.c_longlong),
    ]


class Context(ctypes.Structure):
    """struct fuse_ctx."""

    _fields_ = [("uid", ctypes.c_uint), ("gid", ctypes.c_uint), ("pid", ctypes.c_int), ("umask", ctypes.c_uint)]


#: struct fuse_lowlevel_ops: all members are function pointers, in this order in libfuse 2.9 and 3.
# fmt: off
_CALLBACKS = (
    "init", "destroy", "lookup", "forget", "getattr", "setattr", "readlink", "mknod",
    "mkdir", "unlink", "rmdir", "symlink", "rename", "link", "open", "read",
    "write", "flush", "release", "fsync", "opendir", "readdir", "releasedir", "fsyncdir",
    "statfs", "setxattr", "getxattr", "listxattr", "removexattr", "access", "create", "getlk",
    "setlk", "bmap", "ioctl", "poll", "write_buf", "retrieve_reply", "forget_multi", "flock",
    "fallocate",
)
# fmt: on


_INO = ctypes.c_ulong
_PTR = ctypes.c_void_p
_STR = ctypes.c_char_p
_SIZE = ctypes.c_size_t
_OFF = ctypes.c_longlong
_INT = ctypes.c_int
_MODE = ctypes.c_uint
#: Types of each callback's arguments after the request.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "lookup": (_INO, _STR),
    "forget": (_INO, _INO),
    "forget_multi": (_SIZE, _PTR),
    "getattr": (_INO, _PTR),
    "setattr": (_INO, _PTR, _INT, _PTR),
    "mknod": (_INO, _STR, _MODE, _INO),
    "mkdir": (_INO, _STR, _MODE),
    "unlink": (_INO, _STR),
    "rmdir": (_INO, _STR),
    "symlink": (_STR, _INO, _STR),
    "rename": (_INO, _STR, _INO, _STR),  # libfuse 3 adds flags, which are not looked at
    "link": (_INO, _INO, _STR),
    "open": (_INO, _PTR),
    "read": (_INO, _SIZE, _OFF, _PTR),
    "write": (_INO, _PTR, _SIZE, _OFF, _PTR),
    "release": (_INO, _PTR),
    "opendir": (_INO, _PTR),
    "readdir": (_INO, _SIZE, _OFF, _PTR),
    "releasedir": (_INO, _PTR),
    "statfs": (_INO,),
    "setxattr": (_INO, _STR, _PTR, _SIZE, _INT),
    "getxattr": (_INO, _STR, _SIZE),
    "listxattr": (_INO, _SIZE),
    "removexattr": (_INO, _STR),
    "create": (_INO, _STR, _MODE, _PTR),
    "poll": (_INO, _PTR, _PTR),
}


class CallbackTable(ctypes.Structure):
    """struct fuse_lowlevel_ops."""

    _fields_ = [(name, ctypes.c_void_p) for name in _CALLBACKS]


def declare_prototypes(libraries: Iterable[Any], major: int) -> None:
    """Tell ctypes the arguments and results of the functions we call."""
    prototypes: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "fuse_reply_err": (_INT, (_PTR, _INT)),
        "fuse_reply_none": (None, (_PTR,)),
        "fuse_reply_write": (_INT, (_PTR, _SIZE)),
        "fuse_reply_buf": (_INT, (_PTR, _STR, _SIZE)),
        "fuse_reply_xattr": (_INT, (_PTR, _SIZE)),
        "fuse_reply_poll": (_INT, (_PTR, ctypes.c_uint)),
        "fuse_req_ctx": (_PTR, (_PTR,)),
        "fuse_req_interrupted": (_INT, (_PTR,)),
        "fuse_lowlevel_notify_poll": (_INT, (_PTR,)),
        "fuse_pollhandle_destroy": (None, (_PTR,)),
        "fuse_lowlevel_notify_inval_entry": (_INT, (_PTR, _INO, _STR, _SIZE)),
        "fuse_lowlevel_notify_inval_inode": (_INT, (_PTR, _INO, ctypes.c_longlong, ctypes.c_longlong)),
    }
    if major == 2:
        prototypes |= {
            "fuse_mount": (_PTR, (_STR, _PTR)),
            "fuse_lowlevel_new": (_PTR, (_PTR, _PTR, _SIZE, _PTR)),
            "fuse_session_add_chan": (None, (_PTR, _PTR)),
            "fuse_chan_fd": (_INT, (_PTR,)),
            "fuse_chan_bufsize": (_SIZE, (_PTR,)),
            "fuse_chan_recv": (_INT, (_PTR, _PTR, _SIZE)),
            "fuse_session_process": (None, (_PTR, _PTR, _SIZE, _PTR)),
            "fuse_session_remove_chan": (None, (_PTR,)),
            "fuse_session_destroy": (None, (_PTR,)),
            "fuse_unmount": (None, (_STR, _PTR)),
        }
    else:
        prototypes |= {
            "fuse_session_new": (_PTR, (_PTR, _PTR, _SIZE, _PTR)),
            "fuse_session_mount": (_INT, (_PTR, _STR)),
            "fuse_session_fd": (_INT, (_PTR,)),
            "fuse_session_receive_buf": (_INT, (_PTR, _PTR)),
            "fuse_session_process_buf": (None, (_PTR, _PTR)),
            "fuse_session_unmount": (None, (_PTR,)),
            "fuse_session_destroy": (None, (_PTR,)),
        }
    for name, (result, arguments) in prototypes.items():
        for library in libraries:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments


class Messages:
    """Text that the library printed."""

    def __init__(self) -> None:
        self.text = ""

    def last_line(self) -> str:
        """Its last line, empty if there is none."""
        lines = self.text.strip().splitlines()
        return lines[-1] if lines else ""


@contextmanager
def library_messages() -> Iterator[Messages]:
    """Catch what the library prints to standard error: it has no other way to tell why a mount failed."""
    messages = Messages()
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield messages
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            messages.text = file.read().decode("utf-8", "replace")
