"""HTTP in: submits, cancels, retries and reads jobs."""
