"""Schemas of the platforms' manifests, as JSON Schema. `refresh.py` makes the files from the vendors' own packages."""
