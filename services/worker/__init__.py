"""Claims jobs, runs them on a provider and finalizes them."""
