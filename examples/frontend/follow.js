// Follows a job to its end: over its event stream while that works, by polling while it does not.

import { KINDS } from './job.js';

// So many broken connections in a row, and the stream is given up for the length of a poll.
const PATIENCE = 3;

// job-status answers as soon as the job ends, or after so many seconds.
const WAIT_SECONDS = 20;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Calls `show` after every change. `signal` stops it.
export async function follow(job, api, show, signal) {
  while (!job.ended && !signal.aborted) {
    await stream(job, show, signal);
    if (!job.ended && !signal.aborted) {
      await poll(job, api, signal);
      show();
    }
  }
}

function stream(job, show, signal) {
  return new Promise((resolve) => {
    const url = new URL(job.eventsUrl);
    if (job.lastEventId) url.searchParams.set('lastEventId', job.lastEventId);
    const source = new EventSource(url);
    let broken = 0;
    const leave = () => {
      source.close();
      resolve();
    };
    signal.addEventListener('abort', leave, { once: true });
    source.onopen = () => { broken = 0; };
    source.onerror = () => {
      // CONNECTING: it comes back by itself, with the last event id. CLOSED: the answer was no stream.
      broken += 1;
      if (source.readyState === EventSource.CLOSED || broken >= PATIENCE) leave();
    };
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        job.take(kind, JSON.parse(event.data), event.lastEventId);
        if (job.ended) leave();
        show();
      });
    }
  });
}

async function poll(job, api, signal) {
  try {
    const answer = await fetch(`${api}/api/ai/job-status?jobId=${job.id}&wait=${WAIT_SECONDS}`, { signal });
    if (answer.ok) return job.look(await answer.json());
    if (answer.status === 404) return job.finish('failed', { error: { message: 'There is no such job any more' } });
    await pause(1000 * Number(answer.headers.get('retry-after') ?? 2));
  } catch {
    await pause(2000);
  }
}
