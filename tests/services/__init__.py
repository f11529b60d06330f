"""One service at a time, over real HTTP."""
