"""Scripts: loading, batching and calling them."""
