// Follows a job to its end: over its event stream while that works, by polling while it does not.

import { KINDS } from './job.js';
import { pause, retryAfter } from './patience.js';

// Connections in a row without an event after which the page polls once instead of streaming.
const PATIENCE = 3;

// Time in ms after which a silent connection counts as a good one.
const HELD_MS = 5000;

// Seconds after which job-status answers at the latest; it answers earlier when the job ends.
const WAIT_SECONDS = 20;

// Answers in a row by which a job counts as unknown: a replica of the database may not have a new one yet.
const UNKNOWN = 2;

// Calls `show` after every change. `signal` stops it.
export async function follow(job, api, show, signal) {
  while (!job.ended && !signal.aborted) {
    await stream(job, show, signal);
    if (!job.ended && !signal.aborted) {
      await poll(job, api, show, signal);
    }
  }
}

function stream(job, show, signal) {
  return new Promise((resolve) => {
    const url = new URL(job.eventsUrl);
    if (job.lastEventId) url.searchParams.set('lastEventId', job.lastEventId);
    const source = new EventSource(url);
    let broken = 0;
    let opened = Infinity;
    const leave = () => {
      source.close();
      signal.removeEventListener('abort', leave);
      resolve();
    };
    signal.addEventListener('abort', leave);
    source.onopen = () => { opened = performance.now(); };
    source.onerror = () => {
      // CONNECTING: it comes back by itself, with the last event id. CLOSED: the answer was no stream.
      broken = performance.now() - opened >= HELD_MS ? 1 : broken + 1;
      opened = Infinity;
      if (source.readyState === EventSource.CLOSED || broken >= PATIENCE) leave();
    };
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        broken = 0;
        job.take(kind, JSON.parse(event.data), event.lastEventId);
        if (job.ended) leave();
        show();
      });
    }
  });
}

async function poll(job, api, show, signal) {
  const answer = await fetch(`${api}/api/ai/job-status?jobId=${job.id}&wait=${WAIT_SECONDS}`, { signal }).catch(() => null);
  if (signal.aborted) return;
  const known = answer?.ok === true && job.update(await answer.json().catch(() => null));
  job.unknown = answer?.status === 404 ? job.unknown + 1 : 0;
  if (job.unknown >= UNKNOWN) {
    job.finish('failed', { error: { message: 'There is no such job any more' } });
  } else if (answer?.status === 401 || answer?.status === 403) {
    job.note = 'the service does not let this page see the job';
  }
  show();
  // However fast the answers come: a service that refuses streams and does not wait is not asked without a pause.
  if (!job.ended) await pause(known ? 1 : retryAfter(answer, 2));
}
