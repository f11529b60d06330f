"""Pure code."""
