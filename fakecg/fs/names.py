"""Names that a mount and its clients agree on; imports nothing, so that a client starts fast."""

#: Unlisted directory at the mount's root with the control files.
CONTROL_DIR = ".fakecg"
#: What a mount looks like, see layout.py.
LAYOUTS = ("cgroup", "sysroot")
#: Where the tree is in layout ``sysroot``.
TREE_PATH = "sys/fs/cgroup"
#: Source of our mounts in the mount table.
FS_SOURCE = "fakecg"
