"""cgroup.type and cgroup.subtree_control: who may be threaded, and which controllers may be on.

Mirrors cgroup_enable_threaded and cgroup_vet_subtree_control_enable of kernel/cgroup/cgroup.c. The questions a cgroup answers about
itself (is_threaded, is_thread_root, can_be_thread_root, is_valid_domain) stand in cgroup.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.abi.errors import Busy, InvalidInput, NoSuchFile, NotSupported
from fakecg.abi.units import kstrip
from fakecg.cgroup import control, real_tasks

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import Caller
    from fakecg.cgroup.cgroup import Cgroup


def show_type(cgroup: Cgroup) -> str:
    """One of ``domain``, ``domain threaded``, ``domain invalid``, ``threaded``. Source: cgroup.c:cgroup_type_show."""
    if cgroup.is_threaded:
        return "threaded\n"
    if not cgroup.is_valid_domain:
        return "domain invalid\n"
    return "domain threaded\n" if cgroup.is_thread_root else "domain\n"


def write_type(cgroup: Cgroup, data: bytes, caller: Caller) -> None:
    """Only ``threaded`` can be written, and there is no way back.

    Raises:
        InvalidInput: any other text (EINVAL).
        NotSupported: see enable_threaded (EOPNOTSUPP).

    Source: cgroup.c:cgroup_type_write.
    """
    if kstrip(data) != b"threaded":
        raise InvalidInput(f"cgroup.type takes only threaded, not {data[:40]!r}")
    enable_threaded(cgroup, caller)


def enable_threaded(cgroup: Cgroup, caller: Caller) -> None:
    """Make a cgroup a member of its parent's threaded subtree; nothing happens if it is one.

    Raises:
        NotSupported: it is populated, has domain controllers enabled for children, or the parent's domain is invalid or cannot be a
            thread root (EOPNOTSUPP).

    Source: cgroup.c:cgroup_enable_threaded.
    """
    parent = cgroup.parent
    if cgroup.is_threaded or parent is None:
        return
    real_tasks.refresh(cgroup.hierarchy)
    domain_controllers = cgroup.subtree_control - cgroup.hierarchy.threaded_names
    if cgroup.is_populated or domain_controllers:
        raise NotSupported(f"{cgroup.path()}: populated, or domain controllers on for its children")
    domain = parent.dom_cgrp
    if not domain.is_valid_domain or not domain.can_be_thread_root:
        raise NotSupported(f"{domain.path()} cannot be the root of a threaded subtree")
    for member in cgroup.descendants_pre():
        if member is cgroup or member.is_threaded:
            member.dom_cgrp = domain
    control.apply_control(cgroup, caller)
    parent.nr_threaded_children += 1


def parse_subtree_control(cgroup: Cgroup, data: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """What a write asks for: names to enable and to disable; of several tokens for one name the last counts.

    Raises:
        InvalidInput: a token that is not a sign and the name of a controller (EINVAL).
    """
    known = cgroup.hierarchy.ss_names
    wanted: dict[str, bool] = {}
    for token in kstrip(data).split(b" "):
        if not token:
            continue
        sign, name = token[:1], token[1:].decode("latin-1")
        if name not in known or sign not in (b"+", b"-"):
            raise InvalidInput(f"not + or - and a controller: {token[:40]!r} (known: {' '.join(sorted(known))})")
        wanted[name] = sign == b"+"
    enable = frozenset(name for name, on in wanted.items() if on)
    return enable, frozenset(wanted) - enable


def write_subtree_control(cgroup: Cgroup, data: bytes, caller: Caller) -> None:
    """Turn controllers on and off for the children, all or nothing.

    Raises:
        InvalidInput: see parse_subtree_control.
        NoSuchFile: a controller that is not in cgroup.controllers (ENOENT).
        Busy: a child has a controller to be disabled enabled for its own children; processes inside (EBUSY).
        NotSupported: a domain controller inside a threaded subtree (EOPNOTSUPP).
        AlreadyExists: a child directory has the name of a file that would appear (EEXIST).

    Source: cgroup.c:cgroup_subtree_control_write.
    """
    enable, disable = parse_subtree_control(cgroup, data)
    enable -= cgroup.subtree_control
    disable &= cgroup.subtree_control
    available = cgroup.control
    for name in cgroup.hierarchy.controllers:  # the kernel's order decides which of two refusals is told
        if name in enable and name not in available:
            raise NoSuchFile(f"{cgroup.path()}: {name} is not in cgroup.controllers")
        if name in disable:
            for child in cgroup.children.values():
                if name in child.subtree_control:
                    raise Busy(f"{child.path()} has {name} enabled for its children")
    if not enable and not disable:
        return
    _vet_enable(cgroup, enable)
    control.set_subtree_control(cgroup, enable, disable, caller)


def _vet_enable(cgroup: Cgroup, enable: frozenset[str]) -> None:
    # Source: cgroup.c:cgroup_vet_subtree_control_enable.
    if not enable:
        return
    real_tasks.refresh(cgroup.hierarchy)
    if not cgroup.dom_cgrp.is_valid_domain:
        raise NotSupported(f"{cgroup.path()}: the domain {cgroup.dom_cgrp.path()} is invalid")
    if cgroup.parent is None:
        return
    domain_controllers = enable - cgroup.hierarchy.threaded_names
    if domain_controllers:
        if cgroup.is_thread_root or cgroup.is_threaded:
            raise NotSupported(f"{cgroup.path()}: {' '.join(sorted(domain_controllers))} inside a threaded subtree")
    elif cgroup.can_be_thread_root or cgroup.is_threaded:
        return
    if cgroup.has_tasks:
        raise Busy(f"{cgroup.path()}: has processes of its own")
