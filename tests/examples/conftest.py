"""The experiments are plain scripts; their directory is where they import from."""

from __future__ import annotations

import sys
from pathlib import Path

EXPERIMENTS = Path(__file__).parents[2] / "examples" / "experiments"
sys.path.insert(0, str(EXPERIMENTS))
