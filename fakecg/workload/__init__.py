"""Synthetic workloads: page contents, access patterns, jobs."""
