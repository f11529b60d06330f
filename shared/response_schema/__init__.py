"""JSON Schemas that jobs give for their results: their bounds, and the check of a text against one."""
