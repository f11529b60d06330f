"""The manifests under deploy/: schemas, names, and what they promise."""
