"""The main job, end to end: a real library scanned by a fleet that scales from nothing and back."""
