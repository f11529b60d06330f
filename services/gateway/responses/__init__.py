"""OpenAI's Responses: jobs under another name, for clients that speak that protocol."""
