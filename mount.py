#!/usr/bin/env python3
"""Mount an emulated cgroup v2 tree: ``./mount.py MNT ...`` is ``fakecg mount MNT ...``."""

import sys

from fakecg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["mount", *sys.argv[1:]]))
