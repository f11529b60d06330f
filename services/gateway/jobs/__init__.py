"""One job, or an organisation's jobs: status, cancel, retry, listing, usage."""
