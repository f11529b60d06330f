// The page: submits, shows, cancels, and finds its job again after a reload. All text goes in as text, never as HTML.

import { follow } from './follow.js';
import { Job } from './job.js';
import { keep, recall } from './session.js';
import { send } from './submit.js';

const { api = '', events = '' } = window.PRESSWORK ?? {};
const SAVED = 'presswork-job';
const SENDING = 'presswork-sending';
const JOB_ID = /^ai-job-\d{13}-[0-9a-z]{9}$/;
const WORDS = { queued: 'Waiting', processing: 'Writing', completed: 'Done', failed: 'Failed', cancelled: 'Cancelled' };

const element = (id) => document.getElementById(id);
let job = null;
let following = new AbortController();
// The error of the user's last click: it stays while an earlier job goes on.
let problem = '';
// The job that is being cancelled.
let cancelling = null;

// Only what changed, or a screen reader would repeat the rest with every piece of text.
function put(id, text) {
  if (element(id).textContent !== text) element(id).textContent = text;
}

function show() {
  put('status', job ? [WORDS[job.status] ?? job.status, job.note].filter(Boolean).join(': ') : '');
  put('text', job?.text ?? '');
  element('text').setAttribute('aria-busy', String(job?.status === 'processing'));
  put('error', problem || (job?.end?.error?.message ?? ''));
  put('usage', usage(job?.end));
  element('cancel').disabled = !job || job.ended || job === cancelling;
  document.body.dataset.status = job?.status ?? '';
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
  location.hash = job?.id ?? '';
  show();
  if (job) follow(job, api, show, following.signal);
}

// The address of a job's stream: the gateway's link, else the one that this page expects.
function eventsUrl(path) {
  return new URL(path, events || api || location.origin).href;
}

async function submit(body) {
  element('submit').disabled = true;
  complain('');
  keep(SENDING, body);
  try {
    const { jobId, links } = await send(api, body, complain);
    watch(new Job(jobId, eventsUrl(links.events)));
  } catch (error) {
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
  const asked = job;
  cancelling = asked;
  complain('');
  const answer = await fetch(`${api}/api/ai/jobs/${asked.id}/cancel`, { method: 'POST' }).catch(() => null);
  // The stream or the next poll shows whether it was cancelled or had just ended (409).
  if (answer?.ok || answer?.status === 409 || job !== asked || asked.ended) return;
  cancelling = null;
  complain(`It could not be cancelled (${answer?.status ?? 'no answer'})`);
});

// A reload, the back button, an address that was typed in or shared: it names the job to show.
function openAddress(saved = null) {
  const id = location.hash.slice(1);
  if (id === (job?.id ?? '')) return;
  if (!JOB_ID.test(id)) return watch(null);
  // Without saved state the stream begins at the job's first event: nothing is lost either way.
  watch(saved?.id === id ? new Job(id, saved.eventsUrl, saved) : new Job(id, eventsUrl(`/api/ai/job-events?jobId=${id}`)));
}

window.addEventListener('pagehide', () => keep(SAVED, job?.save() ?? null));
window.addEventListener('hashchange', () => openAddress());
// Back from the browser's cache of whole pages: connections that were open then are closed now.
window.addEventListener('pageshow', (event) => {
  if (event.persisted && job && !job.ended) watch(job);
});

openAddress(recall(SAVED));
const sending = recall(SENDING);
if (sending) submit(sending);
