"""Server-sent events out: reads the event logs, writes nothing."""
