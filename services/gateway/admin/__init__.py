"""Administration: API keys, settings of organisations, and the audit trail."""
