"""One loop per ``JobQueue``: observe, plan, apply."""
