"""Time, tasks, who waits for what, and pressure."""
