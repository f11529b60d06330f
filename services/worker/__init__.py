"""Claims jobs, runs them on a provider and ends them."""
