"""Lists an organisation's jobs, newest first, from the day lists that submit writes. Read only."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Final

from shared.job import JOB_ID, JobSnapshot, JobStatus
from shared.settings import MAX_DEADLINE_SECONDS
from shared.store import records
from shared.store.keys import Keys
from shared.store.replies import JobPage
from shared.store.shared_socket import Transport

DAY_MS: Final = 86_400_000
SCANNED_MAX: Final = 500
"""Records one call reads at most: a page may be shorter than asked, its cursor goes on."""


def _encode(day: int, job_id: str) -> str:
    return base64.urlsafe_b64encode(f"{day} {job_id}".encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[int, str]:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (ValueError, binascii.Error):
        raw = ""
    day, _, job_id = raw.partition(" ")
    if JOB_ID.match(job_id) is None or not (day.isascii() and day.isdigit() and len(day) <= 6):
        raise ValueError("not a cursor of this listing")
    return int(day), job_id


async def _read(transport: Transport, keys: Keys, job_id: str) -> JobSnapshot | None:
    """One job; None when its record is gone, or cannot be read: it must not hide the others."""
    try:
        record = records.parse(job_id, await transport.execute("HMGET", keys.job(job_id), *records.FIELDS))
    except ValueError:
        return None
    return record.snapshot if record else None


async def page(
    transport: Transport,
    keys: Keys,
    organization_id: str,
    *,
    status: JobStatus | None,
    cursor: str | None,
    limit: int,
) -> JobPage:
    """Up to `limit` (1 at least) jobs after `cursor`, of one status or all. ValueError for a cursor not made here."""
    now = int((await transport.execute("TIME"))[0]) * 1000
    today = now // DAY_MS
    day, after = (today, None) if cursor is None else _decode(cursor)
    if day > today + 1 or limit < 1:  # a clock that was set back over midnight makes tomorrow a day we know
        raise ValueError("not a cursor of this listing")
    oldest = today - (MAX_DEADLINE_SECONDS * 1000 // DAY_MS + 8)
    found: list[JobSnapshot] = []
    scanned = 0
    while day >= oldest:
        key = keys.index(organization_id, day)
        length = int(await transport.execute("LLEN", key))
        end = length
        if after is not None:
            position = await transport.execute("LPOS", key, after, "RANK", -1)
            end = 0 if position is None else int(position)
        while end > 0:
            start = max(0, end - min(limit, 100))
            ids = [raw.decode() for raw in await transport.execute("LRANGE", key, start, end - 1)][::-1]
            jobs = await asyncio.gather(*(_read(transport, keys, job_id) for job_id in ids))
            for job_id, job in zip(ids, jobs, strict=True):
                scanned += 1
                if job is not None and (status is None or job.status is status):
                    found.append(job)
                if len(found) == limit or scanned >= SCANNED_MAX:
                    return JobPage(found, _encode(day, job_id))
            end = start
        day, after = day - 1, None
    return JobPage(found, None)
