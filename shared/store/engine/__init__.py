"""Scripts: how they are loaded, batched and called."""
