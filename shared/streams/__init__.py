"""Event streams: from a request to server-sent events. The notifier serves them, and the gateway on its own origin."""
