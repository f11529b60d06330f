"""FastAPI in front of the OpenAI SDK, as both show it: a call of the provider for each request, passed on as events."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI  # type: ignore[import-not-found,unused-ignore]
from fastapi.responses import StreamingResponse  # type: ignore[import-not-found,unused-ignore]
from openai import AsyncOpenAI  # type: ignore[import-not-found,unused-ignore]

client: Any = AsyncOpenAI(base_url=os.environ["BENCH_OPENAI_URL"], api_key="sk-bench", max_retries=0)
app: Any = FastAPI()


@app.get("/stream")  # type: ignore[untyped-decorator,unused-ignore]
async def stream() -> Any:
    """The text as it comes."""

    async def events() -> AsyncIterator[str]:
        message = {"role": "user", "content": "Write a post."}
        async for chunk in await client.chat.completions.create(model="gpt-6-luna", messages=[message], stream=True):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                yield f"data: {json.dumps({'text': text})}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@app.get("/health/ready")  # type: ignore[untyped-decorator,unused-ignore]
async def ready() -> dict[str, str]:
    """The process serves."""
    return {"status": "ok"}
