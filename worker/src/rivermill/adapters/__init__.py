"""Connections of other libraries in the form in which statements are run; each module is imported when it is needed."""
