"""Turns a job's `parameters` into a system prompt and limits, and measures the text. Pure; never sees the prompt.

The system prompt begins with the parts that all jobs share (rules, platform) and ends with the job's own, always in the
same order, so that a provider's prompt cache can hold its beginning.
"""

from __future__ import annotations

from services.worker.prompting.briefing import Brief, brief, review

__all__ = ["Brief", "brief", "review"]
