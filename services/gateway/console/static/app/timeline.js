// What happened to a job, step by step: from its events while they are kept, else from its record.

import { html } from './html.js';
import { full, sentence, span, time, words } from './format.js';

const WHY = {
  error: 'The attempt failed', worker_lost: 'Its worker was lost', drain: 'Its worker was stopped',
  rate_limited: 'The provider asked to wait', schema_mismatch: 'The result did not fit its schema',
};
const OVER = {
  limit: 'has no room within its own limit', rate_limited: 'asked to wait', unavailable: 'failed too often in a row',
};

export function stepsOf(job, events) {
  const steps = [{ colour: 'gray', title: 'Queued', at: job.createdAt }];
  const heard = events.steps ?? [];
  if (!heard.some((one) => one.kind === 'processing') && job.startedAt) {
    if (job.attempt > 1) steps.push({ colour: 'gray', title: `${job.attempt - 1} earlier attempts`, text: 'Their events are not kept any more.' });
    steps.push({ colour: 'blue', title: `Attempt ${job.attempt} started`, at: job.startedAt });
  }
  for (const one of heard) {
    if (one.kind === 'processing') steps.push({ colour: 'blue', title: `Attempt ${one.attempt} started`, at: one.startedAt });
    else if (one.kind === 'retrying') steps.push(again(one));
  }
  for (const one of job.passedOver ?? []) {
    steps.push({ colour: 'amber', title: `Passed over ${one.provider}:${one.model}`, text: `It ${OVER[one.reason] ?? `answered with ${words(one.reason)}`}.` });
  }
  if (job.status === 'completed') steps.push({ colour: 'green', title: `Completed${job.model ? ` by ${job.provider}:${job.model}` : ''}`, at: job.endedAt });
  if (job.status === 'failed') steps.push({ colour: 'red', title: `Failed: ${words(job.error?.type ?? 'unknown')}`, text: sentence(job.error?.message), at: job.endedAt });
  if (job.status === 'cancelled') steps.push({ colour: 'gray', title: 'Cancelled', at: job.endedAt });
  if (job.cancelRequested) steps.push({ colour: 'amber', title: 'Cancel requested' });
  return steps;
}

function again(one) {
  const reason = typeof one.error === 'object' && one.error ? sentence(`${words(one.error.type)}: ${one.error.message}`) : '';
  const due = one.nextAttemptAt ? `Tried again from ${time(one.nextAttemptAt)}.` : '';
  return {
    colour: 'amber', title: WHY[one.reason] ?? `Requeued: ${words(one.reason ?? '')}`,
    text: [reason, one.gate && `Gate ${one.gate}.`, due].filter(Boolean).join(' '), at: one.at,
  };
}

export function Timeline({ job, events }) {
  const steps = stepsOf(job, events);
  const since = (index) => {
    const before = steps.slice(0, index).findLast((one) => one.at)?.at;
    return before && steps[index].at ? `+${span(Date.parse(steps[index].at) - Date.parse(before))}` : '';
  };
  return html`
    <ol class="timeline">
      ${steps.map((one, index) => html`
        <li class=${one.colour}>
          <span class="mark"></span>
          <div><div class="what">${one.title}</div>${one.text && html`<div class="muted">${one.text}</div>`}</div>
          <div class="muted small nowrap" title=${full(one.at)}>${one.at && time(one.at)} <span class="faint">${since(index)}</span></div>
        </li>`)}
    </ol>`;
}
