"""A small world for `make demo`: organisations that submit jobs, and providers that are slow, limited or down."""
