"""The model of Linux memory management: charging, reclaim, zswap, swap."""
