"""Scans media libraries: one job walks one directory and records its files."""
