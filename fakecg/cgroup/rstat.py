"""Hierarchical counters, lazy: written locally, summed up the tree at a flush.

Mirrors kernel/cgroup/rstat.c. A node is written only in its own vector; the tree remembers which nodes changed, and a flush costs
O(changed nodes x depth), whatever the size of the tree.
"""

from __future__ import annotations


class RstatTree:
    """The nodes that changed since the last flush, by depth."""

    def __init__(self, width: int) -> None:
        """``width``: number of items in each node's vector."""
        self.width = width
        self.updated: dict[int, list[RstatNode]] = {}

    def flush(self) -> None:
        """Bring every node's ``total`` up to date. Source: rstat.c:cgroup_rstat_flush."""
        updated = self.updated
        while updated:
            for node in updated.pop(max(updated)):
                node.updated = False
                local, synced = node.local, node.synced
                delta = [now - before for now, before in zip(local, synced, strict=True)]
                node.synced = local[:]
                if node.pending is not None:
                    delta = [own + below for own, below in zip(delta, node.pending, strict=True)]
                    node.pending = None
                node.total = [value + change for value, change in zip(node.total, delta, strict=True)]
                parent = node.parent
                if parent is not None:
                    parent.pending = delta if parent.pending is None else [a + b for a, b in zip(parent.pending, delta, strict=True)]
                    if not parent.updated:
                        parent.mark_updated()


class RstatNode:
    """One cgroup's counters.

    Attributes:
        local: own values, current at any time; writers call mark_updated() afterwards unless ``updated`` is set.
        total: own values and those of all descendants, dead ones included, as of the last flush.
    """

    __slots__ = ("depth", "local", "parent", "pending", "synced", "total", "tree", "updated")

    def __init__(self, tree: RstatTree, parent: RstatNode | None) -> None:
        self.tree = tree
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.local = [0] * tree.width
        self.synced = [0] * tree.width
        self.total = [0] * tree.width
        self.pending: list[int] | None = None
        self.updated = False

    def mark_updated(self) -> None:
        """Register for the next flush."""
        if not self.updated:
            self.updated = True
            self.tree.updated.setdefault(self.depth, []).append(self)

    def add(self, item: int, amount: int) -> None:
        """Change one item of the own vector."""
        self.local[item] += amount
        if not self.updated:
            self.mark_updated()
