"""Controllers and their per-cgroup state.

Mirrors struct cgroup_subsys and struct cgroup_subsys_state. A controller is registered with the hierarchy; the core calls its hooks and
lists its files, and knows nothing else of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import ControlFile
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.sched.task import Task


class Css:
    """State of one controller in one cgroup.

    ``online`` turns False when the cgroup is removed or the controller disabled: every open file of it then answers ENODEV.
    """

    __slots__ = ("cgroup", "controller", "online", "parent")

    def __init__(self, controller: Controller, cgroup: Cgroup, parent: Css | None) -> None:
        self.controller = controller
        self.cgroup = cgroup
        self.parent = parent
        self.online = True


class Controller:
    """A resource controller; subclasses override what they need.

    Attributes:
        name: as in cgroup.controllers.
        threaded: may be enabled in threaded subtrees.
        implicit: on in every cgroup once the root's subtree_control was changed, and never listed or written there.
        depends_on: names of controllers that stay alive, hidden, while this one is enabled.
        files: its rows.
    """

    name = ""
    threaded = False
    implicit = False
    depends_on: tuple[str, ...] = ()
    files: tuple[ControlFile, ...] = ()

    def css_alloc(self, cgroup: Cgroup, parent: Css | None) -> Css:
        """Make the state for a cgroup; ``parent`` is the nearest ancestor's state, None for the root."""
        return Css(self, cgroup, parent)

    def css_online(self, css: Css) -> None:
        """The state became visible."""

    def css_offline(self, css: Css) -> None:
        """The cgroup was removed or the controller disabled; ``css.online`` is False by now."""

    def css_reset(self, css: Css) -> None:
        """The controller was disabled but is kept, hidden, for another that depends on it."""

    def is_dying(self, css: Css) -> bool:
        """Whether an offline state is still held, by charges for example (nr_dying_subsys_* in cgroup.stat)."""
        return False

    def can_fork(self, task: Task, css: Css) -> None:
        """Refuse a new task by raising a ControlError."""

    def can_attach(self, task: Task, css: Css) -> None:
        """Refuse a task by raising a ControlError."""

    def attach(self, task: Task, css: Css) -> None:
        """A task came in."""

    def exit(self, task: Task, css: Css) -> None:
        """A task ended."""
