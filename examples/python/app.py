"""A back end in FastAPI: it holds the key, submits for the user who is signed in, and lets the browser stream.

uvicorn app:app --port 8080
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from presswork_client import AsyncPresswork, JobFailed, NotFound, OrganizationLimit, Unavailable, WaitTimeout
from pydantic import BaseModel, Field


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for the life of the process: it keeps its connections."""
    async with AsyncPresswork(patience=10) as presswork:  # address and key: PRESSWORK_URL, PRESSWORK_API_KEY
        app.state.presswork = presswork
        yield


app = FastAPI(lifespan=lifespan)


def signed_in(user: Annotated[str, Header(alias="x-user")]) -> str:
    """The user of a request: put your session here."""
    return user


def client(request: Request) -> AsyncPresswork:
    """The client of this process."""
    presswork: AsyncPresswork = request.app.state.presswork
    return presswork


User = Annotated[str, Depends(signed_in)]
Client = Annotated[AsyncPresswork, Depends(client)]


class Brief(BaseModel):
    """The request of a front end."""

    product: str = Field(min_length=1, max_length=500)
    platform: str = "linkedin"


class Post(BaseModel):
    """A post that is being written. `events`: the browser's `new EventSource(events)` shows it as it grows, for this
    job alone."""

    id: str
    events: str


class Headlines(BaseModel):
    """Headlines; its schema is that of the result."""

    headlines: list[str] = Field(min_length=3)


@app.post("/posts", status_code=202)
async def write(brief: Brief, user: User, presswork: Client) -> Post:
    """Begin a post. It is written whether or not anybody waits."""
    try:
        job = await presswork.submit(f"Write a post about {brief.product}", platform=brief.platform, user=user)
        return Post(id=job.id, events=await job.ticket())
    except (OrganizationLimit, Unavailable) as busy:
        raise HTTPException(503, "too much is being written: try again soon") from busy


@app.get("/posts/{post_id}")
async def read(post_id: str, user: User, presswork: Client) -> dict[str, Any]:
    """A post of this user as it stands, for pages that do not stream."""
    try:
        view = await presswork.job(post_id).status()
    except NotFound:
        raise HTTPException(404) from None
    if view.user_id != user:
        raise HTTPException(404)
    return {"id": post_id, "status": view.status, "text": view.text, "error": view.error and view.error.type}


@app.post("/headlines")
async def headlines(brief: Brief, user: User, presswork: Client) -> Headlines:
    """Three headlines at once, checked against the schema of `Headlines`."""
    asked = f"Three headlines for {brief.product}"
    try:
        job = await presswork.submit(asked, user=user, response_schema=Headlines.model_json_schema(), priority="high")
        return Headlines.model_validate(await job.json(timeout=60))
    except (JobFailed, WaitTimeout) as failed:
        raise HTTPException(502, "no headlines came: try again") from failed
