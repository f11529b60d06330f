"""Identifiers of end users: the same in the whole fleet, for one user of one organisation, and never an id."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from services.worker.attribution import Attribution
from services.worker.providers import Completion, GenerationRequest
from services.worker.settings import read_worker
from shared.errors import SettingsInvalid
from shared.job import JobSpec
from shared.job_ids import new_job_id
from shared.store.job_store import JobStore
from shared.store.transitions import Submit
from tests.support.checks import RawRedis
from tests.support.worker import DONE, Scripted, ended, running_worker

SECRET = "the key of all identifiers of a fleet"


class _Vendor:
    """A provider that notes the end users that it gets."""

    def __init__(self, *, gated: bool = True) -> None:
        self.told: list[str | None] = []
        self.provider = Scripted(self._stream, gated=gated)

    async def _stream(self, request: GenerationRequest) -> AsyncIterator[str | Completion]:
        self.told.append(request.end_user)
        yield "fine"
        yield DONE


async def _run(store: JobStore, user: tuple[str, str], *, gated: bool = True, **settings: str) -> str | None:
    """The end user that a vendor gets from a fresh worker."""
    vendor = _Vendor(gated=gated)
    spec = JobSpec(organization_id=user[0], project_id="p", user_id=user[1], prompt="write")
    async with running_worker(store.settings, {"p": vendor.provider}, **settings):
        submitted = await store.submit(Submit(id=new_job_id(), spec=spec))
        await ended(store, submitted.job_id)
    (told,) = vendor.told
    return told


async def test_all_workers_name_an_end_user_alike(store: JobStore, redis_url: str) -> None:
    """The first worker makes a secret, others use it; users and organisations of one name are distinguished."""
    users = [("org-a", "jane"), ("org-a", "joe"), ("org-b", "jane")]
    told = [await _run(store, user) for user in users]
    assert [await _run(store, user) for user in users] == told
    assert len(set(told)) == 3
    assert all(re.fullmatch("[0-9a-f]{64}", text or "") for text in told)
    async with RawRedis(redis_url) as raw:
        assert len(await raw("GET", store.keys.fixed("attribution"))) == 64


async def test_a_secret_of_the_settings_is_kept_nowhere(store: JobStore, redis_url: str) -> None:
    """ATTRIBUTION_SECRET comes before the one in Redis, and leaves none there."""
    told = await _run(store, ("org-a", "jane"), attribution_secret=SECRET)
    assert told == Attribution(SECRET, load=None).end_user("org-a", "jane")
    async with RawRedis(redis_url) as raw:
        assert await raw("EXISTS", store.keys.fixed("attribution")) == 0


@pytest.mark.parametrize(("gated", "settings"), [(True, {"attribution": "off"}), (False, {})])
async def test_without_vendors_no_secret_is_made(
    store: JobStore, redis_url: str, gated: bool, settings: dict[str, str]
) -> None:
    """Switched off, or where no call leaves the process, there is no identifier."""
    assert await _run(store, ("org-a", "jane"), gated=gated, **settings) is None
    async with RawRedis(redis_url) as raw:
        assert await raw("EXISTS", store.keys.fixed("attribution")) == 0


def test_a_short_secret_is_refused() -> None:
    """One that could be guessed would turn identifiers back into ids."""
    with pytest.raises(SettingsInvalid, match="ATTRIBUTION_SECRET: must have at least 32 characters"):
        read_worker({"ATTRIBUTION_SECRET": "short"})
