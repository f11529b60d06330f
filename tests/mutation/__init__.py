"""Small damage to important lines, each of which a test must notice: `make mutate`."""
