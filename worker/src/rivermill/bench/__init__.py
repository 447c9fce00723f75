"""``rivermill bench``: how fast this computer and this database work jobs. Mirrors River's ``riverbench`` in effect."""
