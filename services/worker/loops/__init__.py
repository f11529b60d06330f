"""Background loops of the worker, one file each."""
