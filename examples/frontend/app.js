// The page: submits, shows, cancels, and finds its job again after a reload. All text goes in as text, never as HTML.

import { Presswork } from './presswork.js';
import { keep, recall } from './session.js';

const SAVED = 'presswork-job';
const SENDING = 'presswork-sending';
const KEYS = 'presswork-key';
const JOB_ID = /^ai-job-\d{13}-[0-9a-z]{9}$/;
const ENDS = ['completed', 'failed', 'cancelled'];
const WORDS = { queued: 'Waiting', processing: 'Writing', completed: 'Done', failed: 'Failed', cancelled: 'Cancelled' };
const NOTES = {
  error: 'The attempt failed, it will be tried again',
  worker_lost: 'The worker was lost, it will be tried again',
  drain: 'The worker is being replaced, it will be tried again',
  rate_limited: 'The provider is busy, it will be tried again',
  gap: 'Some of the text was missed',
};

// Seconds after which a page that may not see its job asks again: its user may have signed in.
const DENIED_SECONDS = 2;

const { api, events } = window.PRESSWORK ?? {};
const client = new Presswork({
  baseUrl: api,
  eventsBaseUrl: events,
  retries: 3,
  onRetry: () => complain('The service does not answer; it is tried again'),
});

const element = (id) => document.getElementById(id);
// The job on the page, as far as it was followed.
let job = null;
let following = new AbortController();
// The error of the user's last click: it stays while an earlier job goes on.
let problem = '';
let denied = false;
// The id of the job that is being cancelled.
let cancelling = null;

// Only what changed, or a screen reader would repeat the rest with every piece of text.
function put(id, text) {
  if (element(id).textContent !== text) element(id).textContent = text;
}

const ended = () => ENDS.includes(job?.status);

function show() {
  put('status', job ? [WORDS[job.status] ?? job.status, note()].filter(Boolean).join(': ') : '');
  put('text', job?.text ?? '');
  element('text').setAttribute('aria-busy', String(job?.status === 'processing'));
  put('error', problem || (job?.end?.error?.message ?? ''));
  put('usage', usage(job?.end));
  element('cancel').disabled = !job || ended() || job.jobId === cancelling;
  document.body.dataset.status = job?.status ?? '';
}

function note() {
  if (denied) return 'the service does not let this page see the job';
  return NOTES[job.note] ?? (job.status === 'processing' && job.attempt > 1 ? `Attempt ${job.attempt}` : '');
}

function complain(text) {
  problem = text;
  show();
}

function usage(end) {
  if (!end?.usage) return '';
  const { inputTokens, outputTokens, estimated } = end.usage;
  const cost = typeof end.costUsd === 'number' ? `, $${end.costUsd.toFixed(6)}` : '';
  const who = [end.provider, end.model].filter(Boolean).join(' ') || 'in all';
  return `${who}: ${inputTokens} tokens in, ${outputTokens} out${cost}${estimated ? ' (estimated)' : ''}`;
}

function watch(next) {
  following.abort();
  following = new AbortController();
  job = next;
  problem = '';
  denied = false;
  location.hash = job?.jobId ?? '';
  show();
  if (job) follow(following.signal);
}

async function follow(signal) {
  while (!signal.aborted && !ended()) {
    try {
      for await (const progress of client.job(job).progress({ signal })) {
        if (signal.aborted) return;
        job = progress;
        denied = false;
        show();
      }
    } catch (error) {
      if (signal.aborted) return;
      denied = error.status === 401 || error.status === 403;
      if (!denied) job = { ...job, status: 'failed', note: undefined, end: { error } };
      show();
      if (denied) await new Promise((resolve) => setTimeout(resolve, 1000 * DENIED_SECONDS));
    }
  }
}

// The key under which this body is sent until its fate is known: also after a reload, and when the user tries again.
function keyOf(text) {
  const kept = recall(KEYS);
  const key = kept?.text === text ? kept.key : client.newKey();
  keep(KEYS, { text, key });
  return key;
}

async function submit(body) {
  element('submit').disabled = true;
  complain('');
  keep(SENDING, body);
  try {
    const { from } = await client.submit(body, { idempotencyKey: keyOf(JSON.stringify(body)) });
    keep(KEYS, null);
    watch(from);
  } catch (error) {
    if (error.status >= 400 && error.status < 500) keep(KEYS, null);
    complain(error.message);
  } finally {
    keep(SENDING, null);
    element('submit').disabled = false;
  }
}

element('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const { prompt, priority, ...parameters } = Object.fromEntries(new FormData(event.target));
  submit({ projectId: 'example', userId: 'example', organizationId: 'example', prompt, priority, parameters });
});

element('cancel').addEventListener('click', async () => {
  const { jobId } = job;
  cancelling = jobId;
  complain('');
  try {
    await client.cancel(jobId);
  } catch (error) {
    // The stream or the next poll shows whether it was cancelled or had just ended (409).
    if (error.status === 409 || job?.jobId !== jobId || ended()) return;
    cancelling = null;
    complain(`It could not be cancelled (${error.status || 'no answer'})`);
  }
});

// A reload, the back button, an address that was typed in or shared: it names the job to show.
function openAddress(saved = null) {
  const id = location.hash.slice(1);
  if (id === (job?.jobId ?? '')) return;
  if (!JOB_ID.test(id)) return watch(null);
  // Without saved state the stream begins at the job's first event: nothing is lost either way.
  watch(saved?.jobId === id ? saved : client.job(id).from);
}

window.addEventListener('pagehide', () => keep(SAVED, job));
window.addEventListener('hashchange', () => openAddress());
// Back from the browser's cache of whole pages: connections that were open then are closed now.
window.addEventListener('pageshow', (event) => {
  if (event.persisted && job && !ended()) watch(job);
});

openAddress(recall(SAVED));
const sending = recall(SENDING);
if (sending) submit(sending);
