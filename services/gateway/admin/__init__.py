"""Administration: API keys, and by whom they were changed."""
