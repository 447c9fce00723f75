"""The Rivermill operator: runs the right number of worker pods for each ``JobQueue``."""

__version__ = "0.1.0"
