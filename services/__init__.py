"""The three services. None calls another: they meet in the store."""
