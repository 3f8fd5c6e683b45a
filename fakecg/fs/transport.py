"""What the filesystem asks of whoever carries requests between it and the kernel."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """What the operations ask of whoever carries requests."""

    def wake_poll(self, token: int) -> None:
        """Tell the kernel that a polled file changed, and let go of the token."""
        ...

    def drop_poll(self, token: int) -> None:
        """Let go of a token without telling."""
        ...

    def forget_name(self, parent_id: int, name: bytes) -> None:
        """Make the kernel look a name up again: the file is gone."""
        ...

    def forget_attributes(self, node_id: int) -> None:
        """Make the kernel ask for a node's attributes again."""
        ...
