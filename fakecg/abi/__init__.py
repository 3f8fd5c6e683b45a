"""Words, numbers and formats of the cgroup v2 interface; no state."""
