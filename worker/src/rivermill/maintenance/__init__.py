"""What the leader does for the whole schema: schedule, rescue, clean. Mirrors River's ``internal/maintenance``."""
