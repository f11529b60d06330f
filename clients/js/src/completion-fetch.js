// A `fetch` for `useCompletion` of Vercel's AI SDK: its request becomes a job, its answer the job's text. That hook can
// neither come back to a text nor take one back, so an abort, which is its stop, cancels the job, as a closed tab does.

import { Presswork } from './client.js';
import { follower, unlessAborted } from './signals.js';
import { streamOf, uiChunks } from './ui-chunks.js';

// The hook's own; the client sends what the service needs.
const OF_THE_HOOK = ['content-type', 'user-agent'];

const STREAM = { 'Content-Type': 'text/event-stream', 'x-vercel-ai-ui-message-stream': 'v1' };

// The hook's `api` is not asked: the client knows where the service is.
export function completionFetch({ client = new Presswork() } = {}) {
  return async (_api, { body, headers: given, signal }) => {
    signal?.throwIfAborted();
    const headers = new Headers(given);
    OF_THE_HOOK.forEach((name) => headers.delete(name));
    // No abort ends the submit: a job whose id never came could not be cancelled.
    const submitted = client.submit(JSON.parse(body), { headers: Object.fromEntries(headers) });
    const settle = cancelling(submitted, signal);
    const job = await unlessAborted(submitted, signal);

    const reading = follower(signal);
    const chunks = uiChunks(job.id, job.events({ signal: reading.signal }), { retract: false });
    return new Response(streamOf(encoded(chunks, settle), reading.leave), { headers: STREAM });
  };
}

// Cancels a job when the signal is aborted, and when its page is left; returns how to leave it alone.
function cancelling(submitted, signal) {
  const cancel = () => void submitted.then((job) => job.cancel()).catch(() => {});
  signal?.addEventListener('abort', cancel, { once: true });
  globalThis.addEventListener?.('pagehide', cancel, { once: true });
  const leave = () => {
    signal?.removeEventListener('abort', cancel);
    globalThis.removeEventListener?.('pagehide', cancel);
  };
  submitted.catch(leave);
  return leave;
}

// Chunks as server-sent events; `end` is called when there are no more.
async function* encoded(chunks, end) {
  const encoder = new TextEncoder();
  try {
    for await (const chunk of chunks) yield encoder.encode(`data: ${JSON.stringify(chunk)}\n\n`);
    yield encoder.encode('data: [DONE]\n\n');
  } finally {
    end();
  }
}
