"""The cgroup tree and its core files; knows nothing of memory."""
