"""The tree as a filesystem; only fusepy_binding and mount import fuse."""
