"""The nodes that the transport knows, by the numbers it knows them by, counted as the kernel counts its references."""

from __future__ import annotations

import threading

from fakecg.abi.errors import NotADirectory
from fakecg.cgroup.cgroup import Cgroup
from fakecg.fs.nodes import ROOT_ID, Directory, Node, Stale, StaticDir

#: The transport's name for the tree's root where that is not the mount's root.
TREE_ROOT_ID = 1 << 47


class NodeTable:
    """The table of one mount. All methods may be called from several threads.

    Args:
        root: the mount's root, which is always known.
        tree: the tree's root.
    """

    def __init__(self, root: Node, tree: Cgroup) -> None:
        self.root = root
        self._tree = tree
        self._nodes: dict[int, Node] = {}
        self._lookups: dict[int, int] = {}
        self._lock = threading.Lock()

    def id_of(self, node: Node) -> int:
        """The transport's number of a node: its inode number, except for the two roots."""
        if node is self.root:
            return ROOT_ID
        return TREE_ROOT_ID if node is self._tree else node.ino

    def node(self, node_id: int) -> Node:
        """The node behind a number the transport got from lookup.

        Raises:
            Stale: not known (any more) (ESTALE).
        """
        if node_id == ROOT_ID:
            return self.root
        node = self._nodes.get(node_id)
        if node is None:
            raise Stale(f"no node {node_id}")
        return node

    def directory(self, node_id: int) -> Directory:
        """The directory behind a number.

        Raises:
            NotADirectory: a file (ENOTDIR).
        """
        node = self.node(node_id)
        if not isinstance(node, Cgroup | StaticDir):
            raise NotADirectory("a file has no entries")
        return node

    def remember(self, node: Node) -> int:
        """Count one more reference that the transport holds, and return the node's number."""
        node_id = self.id_of(node)
        with self._lock:
            self._nodes[node_id] = node
            self._lookups[node_id] = self._lookups.get(node_id, 0) + 1
        return node_id

    def forget(self, node_id: int, nr_lookups: int) -> None:
        """The transport lets go of so many references."""
        with self._lock:
            left = self._lookups.get(node_id, 0) - nr_lookups
            if left > 0:
                self._lookups[node_id] = left
            else:
                self._lookups.pop(node_id, None)
                self._nodes.pop(node_id, None)

    def is_known(self, node: Node) -> bool:
        """Whether the transport holds a reference, so that a client may watch the node."""
        node_id = self.id_of(node)
        return node_id == ROOT_ID or node_id in self._nodes
