"""Calls for Vercel's AI SDK; its streams of jobs are in `shared/streams/ui_messages.py`."""
