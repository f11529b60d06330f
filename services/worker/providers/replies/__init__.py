"""Replies of a provider: from bytes to text, thoughts, usage and a finish reason."""
