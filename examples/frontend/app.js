// The page: submits, shows, cancels, and finds its job again after a reload. All text goes in as text, never as HTML.

import { follow } from './follow.js';
import { Job } from './job.js';

const { api = '', events = '' } = window.PRESSWORK ?? {};
const SAVED = 'presswork-job';
const JOB_ID = /^ai-job-\d{13}-[0-9a-z]{9}$/;
const WORDS = { queued: 'Waiting', processing: 'Writing', completed: 'Done', failed: 'Failed', cancelled: 'Cancelled' };

const element = (id) => document.getElementById(id);
let job = null;
let following = new AbortController();

function show() {
  element('status').textContent = job ? [WORDS[job.status] ?? job.status, job.note].filter(Boolean).join(': ') : '';
  element('text').textContent = job?.text ?? '';
  element('text').setAttribute('aria-busy', String(job?.status === 'processing'));
  element('error').textContent = job?.end?.error?.message ?? '';
  element('usage').textContent = usage(job?.end);
  element('cancel').disabled = !job || job.ended;
  document.body.dataset.status = job?.status ?? '';
}

function usage(end) {
  if (!end?.usage) return '';
  const { inputTokens, outputTokens, estimated } = end.usage;
  const cost = typeof end.costUsd === 'number' ? `, $${end.costUsd.toFixed(6)}` : '';
  return `${end.provider} ${end.model}: ${inputTokens} tokens in, ${outputTokens} out${cost}${estimated ? ' (estimated)' : ''}`;
}

function watch(next) {
  following.abort();
  following = new AbortController();
  job = next;
  location.hash = job.id;
  show();
  follow(job, api, show, following.signal);
}

// The address of a job's stream: what the gateway said, else where this page expects it.
function eventsUrl(path) {
  return new URL(path, events || api || location.origin).href;
}

async function submit(form) {
  const { prompt, priority, ...parameters } = Object.fromEntries(new FormData(form));
  // The same key for every try: however often it is sent, it is one job.
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
  const request = {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
    body: JSON.stringify({ projectId: 'example', userId: 'example', organizationId: 'example', prompt, priority, parameters }),
  };
  for (let tries = 1; ; tries += 1) {
    const answer = await fetch(`${api}/api/ai/generate-content`, request).catch(() => null);
    if (answer?.ok) return answer.json();
    if (tries === 4 || (answer && answer.status !== 503)) {
      const problem = answer ? await answer.json().catch(() => ({})) : {};
      throw new Error([problem.title ?? 'The service cannot be reached', problem.detail].filter(Boolean).join(': '));
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(answer?.headers.get('retry-after') ?? tries)));
  }
}

element('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  element('submit').disabled = true;
  element('error').textContent = '';
  try {
    const { jobId, links } = await submit(event.target);
    watch(new Job(jobId, eventsUrl(links.events)));
  } catch (error) {
    element('error').textContent = error.message;
  } finally {
    element('submit').disabled = false;
  }
});

element('cancel').addEventListener('click', async () => {
  element('cancel').disabled = true;
  // Whether it was cancelled or had just ended, the stream or the next poll tells.
  const answer = await fetch(`${api}/api/ai/jobs/${job.id}/cancel`, { method: 'POST' }).catch(() => null);
  if (answer === null || answer.status === 503) element('cancel').disabled = job.ended;
});

window.addEventListener('pagehide', () => {
  if (job) sessionStorage.setItem(SAVED, JSON.stringify(job.save()));
});

const id = location.hash.slice(1);
if (JOB_ID.test(id)) {
  const saved = JSON.parse(sessionStorage.getItem(SAVED) ?? 'null');
  const path = `/api/ai/job-events?jobId=${id}`;
  // Without what was saved the stream begins at the job's first event: nothing is lost either way.
  watch(saved?.id === id ? new Job(id, saved.eventsUrl, saved) : new Job(id, eventsUrl(path)));
}
