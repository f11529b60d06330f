"""The manifests under deploy/: schemas, names, and promises."""
