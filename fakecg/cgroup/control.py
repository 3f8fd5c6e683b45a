"""Controllers on and off: their states and files follow subtree_control down the tree.

Mirrors cgroup_apply_control and what it calls in kernel/cgroup/cgroup.c. Whether a change is allowed is decided before, in threaded.py.

Invariant: a controller's state exists in a cgroup only if it exists in the parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.abi.errors import AlreadyExists

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import Caller
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.cgroup.css import Controller, Css


def set_subtree_control(cgroup: Cgroup, enable: frozenset[str], disable: frozenset[str], caller: Caller) -> None:
    """Turn controllers on and off for the children; the two sets passed all checks.

    Raises:
        AlreadyExists: a child directory has the name of a file that would appear; nothing is changed (EEXIST).

    Source: cgroup.c:cgroup_subtree_control_write, its second half. Cost: O(cgroups below).
    """
    wanted = (cgroup.subtree_control | enable) - disable
    _check_names(cgroup, wanted - cgroup.subtree_control)
    cgroup.subtree_control = wanted
    apply_control(cgroup, caller)


def _check_names(cgroup: Cgroup, appearing: frozenset[str]) -> None:
    # The kernel finds out while it makes the files, and takes everything back.
    for child in cgroup.children.values():
        table = cgroup.hierarchy.file_table(child)
        for name in child.children:
            entry = table.get(name)
            if entry is not None and entry[0] in appearing:
                raise AlreadyExists(f"{child.path()}: a child is named {name!r}, as a file that would appear")


def apply_control(top: Cgroup, caller: Caller) -> None:
    """Bring states and files of a subtree in line with subtree_control. Source: cgroup.c:cgroup_apply_control, _finalize_control."""
    below = list(top.descendants_pre())
    controllers = top.hierarchy.controllers
    tasks = [task for cgroup in below for task in cgroup.tasks]
    before = [(task, cgroup, [cgroup.e_css(name) for name in controllers]) for task in tasks if (cgroup := task.cgroup) is not None]
    for cgroup in below:
        cgroup.subtree_control &= cgroup.control
        cgroup.subtree_ss = calc_subtree_ss(cgroup)
    for cgroup in below:
        enable_css(cgroup, caller)
    for cgroup in reversed(below):
        _disable_css(cgroup)
    for task, cgroup, old in before:
        for name, old_css in zip(controllers, old, strict=True):
            css = cgroup.e_css(name)
            if css is not None and css is not old_css:
                css.controller.attach(task, css)


def calc_subtree_ss(cgroup: Cgroup) -> frozenset[str]:
    """subtree_control and what that depends on, as far as the cgroup has it. Source: cgroup.c:cgroup_calc_subtree_ss_mask."""
    hierarchy = cgroup.hierarchy
    available = cgroup.ss_mask
    mask = cgroup.subtree_control | (hierarchy.implicit_names & available)
    while True:
        wider = frozenset(mask.union(*(hierarchy.controllers[name].depends_on for name in mask)) & available)
        if wider == mask:
            return mask
        mask = wider


def enable_css(cgroup: Cgroup, caller: Caller) -> None:
    """Make the states and files that are missing; ``caller`` owns the files. Source: cgroup.c:cgroup_apply_control_enable."""
    ss_mask = cgroup.ss_mask
    if not ss_mask:
        return
    control = cgroup.control
    for name, controller in cgroup.hierarchy.controllers.items():
        if name not in ss_mask:
            continue
        if cgroup.own_css(name) is None:
            css_create(cgroup, controller)
        if name in control or controller.implicit:
            css_show(cgroup, name, caller)


def _disable_css(cgroup: Cgroup) -> None:
    # Source: cgroup.c:cgroup_apply_control_disable.
    if cgroup.parent is None:
        return
    ss_mask, control = cgroup.ss_mask, cgroup.control
    for name, css in (*cgroup.css.items(), *cgroup.hidden_css.items()):
        if name not in ss_mask:
            cgroup.remove_files(name)
            cgroup.css.pop(name, None)
            cgroup.hidden_css.pop(name, None)
            css_kill(css)
        elif name not in control and not css.controller.implicit:
            cgroup.remove_files(name)
            cgroup.css.pop(name, None)
            cgroup.hidden_css[name] = css
            css.controller.css_reset(css)


def css_create(cgroup: Cgroup, controller: Controller) -> None:
    """Make a controller's state, without files yet. Source: cgroup.c:css_create."""
    parent_css = cgroup.parent.e_css(controller.name) if cgroup.parent is not None else None
    css = controller.css_alloc(cgroup, parent_css)
    cgroup.hidden_css[controller.name] = css
    for ancestor in cgroup.ancestors(include_self=True):
        ancestor.nr_css[controller.name] = ancestor.nr_css.get(controller.name, 0) + 1
    controller.css_online(css)


def css_show(cgroup: Cgroup, name: str, creator: Caller) -> None:
    """Let the files of a hidden state appear."""
    css = cgroup.hidden_css.pop(name, None)
    if css is not None:
        cgroup.css[name] = css
        cgroup.add_files(name, creator)


def css_kill(css: Css) -> None:
    """Take a state offline; it is dying from then on. Source: cgroup.c:kill_css, offline_css."""
    css.online = False
    for ancestor in css.cgroup.ancestors(include_self=True):
        ancestor.nr_css[css.controller.name] -= 1
    css.controller.css_offline(css)
    css.cgroup.hierarchy.dying.add_state(css)
