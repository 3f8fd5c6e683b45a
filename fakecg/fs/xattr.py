"""Extended attributes of directories and files: kept in memory, gone with the node.

Mirrors fs/kernfs/inode.c. Whether a caller may touch an attribute is checked by the kernel before a request gets here, except that
``trusted.*`` is left out of a listing for callers without the capability.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.abi.errors import AlreadyExists, InvalidInput, NoData, NoSpace, NotPermitted, NotSupported

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import Caller
    from fakecg.fs.nodes import Node

#: Limits of user.* per node. Source: include/linux/kernfs.h:KERNFS_MAX_USER_XATTRS, KERNFS_USER_XATTR_SIZE_LIMIT.
MAX_USER_XATTRS = 128
MAX_USER_BYTES = 128 << 10

XATTR_CREATE = 1
XATTR_REPLACE = 2

_USER = b"user."
_TRUSTED = b"trusted."
_PREFIXES = (_USER, _TRUSTED, b"security.")


def _require_prefix(name: bytes) -> None:
    # Source: fs/xattr.c:xattr_resolve_name.
    if not name.startswith(_PREFIXES):
        raise NotSupported(f"extended attribute {name!r}: only user.*, trusted.* and security.* are kept")
    if name in _PREFIXES:
        raise InvalidInput(f"extended attribute {name!r}: a name is missing")


def get(node: Node, name: bytes, caller: Caller) -> bytes:
    """Value of an attribute.

    Raises:
        NotSupported: another prefix (EOPNOTSUPP).
        InvalidInput: nothing after the prefix (EINVAL).
        NoData: not set, or trusted.* asked for without the capability (ENODATA).
    """
    _require_prefix(name)
    value = node.xattrs.get(name) if node.xattrs else None
    if value is None or (name.startswith(_TRUSTED) and not caller.is_root):
        raise NoData(f"extended attribute {name!r} is not set")
    return value


def set_value(node: Node, name: bytes, value: bytes, flags: int, caller: Caller) -> None:
    """Set an attribute; ``flags`` is 0, XATTR_CREATE or XATTR_REPLACE.

    Raises:
        NotSupported, InvalidInput: see get.
        NotPermitted: trusted.* without the capability (EPERM).
        NoSpace: more than 128 user attributes or 128 KiB of their values (ENOSPC). One that is replaced counts twice.
        AlreadyExists: XATTR_CREATE and it is set (EEXIST).
        NoData: XATTR_REPLACE and it is not set (ENODATA).

    Source: inode.c:kernfs_vfs_user_xattr_add.
    """
    _require_prefix(name)
    if name.startswith(_TRUSTED) and not caller.is_root:
        raise NotPermitted(f"extended attribute {name!r} needs CAP_SYS_ADMIN")
    xattrs = node.xattrs if node.xattrs is not None else {}
    if name.startswith(_USER):
        sizes = [len(old) for key, old in xattrs.items() if key.startswith(_USER)]
        if len(sizes) >= MAX_USER_XATTRS or sum(sizes) + len(value) > MAX_USER_BYTES:
            raise NoSpace(f"extended attribute {name!r}: at most {MAX_USER_XATTRS} and {MAX_USER_BYTES} bytes of user.* per file")
    if flags & XATTR_CREATE and name in xattrs:
        raise AlreadyExists(f"extended attribute {name!r} is set")
    if flags & XATTR_REPLACE and name not in xattrs:
        raise NoData(f"extended attribute {name!r} is not set")
    xattrs[name] = value
    node.xattrs = xattrs


def remove(node: Node, name: bytes, caller: Caller) -> None:
    """Remove an attribute; errors as in get and set_value."""
    _require_prefix(name)
    if name.startswith(_TRUSTED) and not caller.is_root:
        raise NotPermitted(f"extended attribute {name!r} needs CAP_SYS_ADMIN")
    if not node.xattrs or name not in node.xattrs:
        raise NoData(f"extended attribute {name!r} is not set")
    del node.xattrs[name]


def list_names(node: Node, caller: Caller) -> list[bytes]:
    """Names of the attributes the caller may see, in falling order. Source: fs/xattr.c:rbtree_simple_xattr_cmp, which turns it around."""
    return [name for name in sorted(node.xattrs or (), reverse=True) if caller.is_root or not name.startswith(_TRUSTED)]
