"""A cgroup as the Python API shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fakecg.abi.keyed import parse_flat_keyed

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.host import Host


class Group:
    """Files by name, children by path.

    Reading gives the text without its last newline; writing takes text or bytes and raises OSError with the kernel's errno.
    """

    def __init__(self, host: Host, cgroup: Cgroup) -> None:
        self.host = host
        self.cgroup = cgroup

    def __repr__(self) -> str:
        return f"<Group {self.path}>"

    @property
    def path(self) -> str:
        """Path from the root of the tree, with a leading slash."""
        return self.cgroup.path()

    def __getitem__(self, name: str) -> str:
        return self.host.read(self.cgroup, name).removesuffix("\n")

    def __setitem__(self, name: str, value: str | bytes | int) -> None:
        self.host.write_text(self.cgroup, name, value)

    def write(self, name: str, value: str | bytes | int, *, interrupted: Callable[[], bool] | None = None) -> None:
        """What item assignment does, by a writer to whom a signal may come.

        Args:
            interrupted: asked where a kernel looks for signals; once it is True the write ends with InterruptedError (EINTR), or as the
                file has it, and what was done so far stays.
        """
        self.host.write_text(self.cgroup, name, value, interrupted)

    def __truediv__(self, name: str) -> Group:
        return Group(self.host, self.host.lookup(f"{self.path.rstrip('/')}/{name}"))

    def mkdir(self, name: str) -> Group:
        """Make a child."""
        return self.host.mkdir(f"{self.path.rstrip('/')}/{name}")

    def rmdir(self) -> None:
        """Remove this cgroup."""
        self.host.rmdir(self.path)

    @property
    def stat(self) -> dict[str, int]:
        """memory.stat as numbers."""
        return parse_flat_keyed(self.host.read(self.cgroup, "memory.stat"))

    @property
    def events(self) -> dict[str, int]:
        """memory.events as numbers."""
        return parse_flat_keyed(self.host.read(self.cgroup, "memory.events"))
