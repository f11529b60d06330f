"""Parts that several test files need."""
