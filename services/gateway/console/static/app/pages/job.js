// One job: its text as it comes, what happened to it and why, what it cost, and what can be done.

import { html, classes } from '../html.js';
import { api, optional } from '../api.js';
import { curlOf } from '../curl.js';
import { Icon } from '../icons.js';
import { act, fitting, may } from '../job_actions.js';
import { useJobEvents } from '../job_events.js';
import { Copyable, CopyButton, Fallback, JobLink, Notice, PageHead, Stale, Status } from '../parts.js';
import { Timeline } from '../timeline.js';
import { WhyItWaits } from '../waiting.js';
import { between, count, full, sentence, since, span, usd, words } from '../format.js';
import { useClock, useReading } from '../refresh.js';
import { go, href } from '../router.js';
import { can, everyMs, isOperator } from '../session.js';

const ENDED = new Set(['completed', 'failed', 'cancelled']);

export default function Job({ parts }) {
  const jobId = parts[1];
  const reading = useReading(
    (signal) => api.get('api/ai/job-status', { jobId }, signal), [jobId], { every: everyMs() },
  );
  const request = useReading((signal) => optional(`api/ai/jobs/${encodeURIComponent(jobId)}/request`, {}, signal), [jobId], { every: 0 });
  const job = reading.value;
  if (!job) {
    return html`<div class="page scrolls"><${PageHead} title="Job" crumbs=${html`<a href=${href('jobs')}>Jobs</a>`} />
      <${Fallback} reading=${reading.error?.status === 404 || reading.error?.status === 400 ? { error: { title: 'There is no such job', message: 'It was never there, its time is over, or it belongs to another organisation.' }, refresh: reading.refresh } : reading} icon="jobs" /></div>`;
  }
  return html`<${Found} job=${job} request=${request.value} gone=${request.error?.type === 'request-gone'} reading=${reading} />`;
}

function Found({ job, request, gone, reading }) {
  const events = useJobEvents(job.jobId, { allowed: can('events:read'), onStep: reading.refresh });
  const ended = ENDED.has(job.status);
  useClock(ended ? 30000 : 1000);
  return html`
    <div class="page scrolls">
      <${PageHead} crumbs=${html`<a href=${href('jobs', { organizationId: isOperator.value ? job.organizationId : undefined })}>Jobs</a><${Icon} name="right" size="12" /><span>${job.organizationId}</span>`}
        title=${html`<div class="job-title"><h1 tabindex="-1">${job.jobId}</h1><span class="copyable"><${CopyButton} text=${job.jobId} label="Copy the id" /></span><${Status} status=${job.status} pill /></div>`}>
        <${Actions} job=${job} request=${request} refresh=${reading.refresh} />
      <//>
      <${Stale} reading=${reading} />
      <div class="page-body job-columns">
        <div class="stack">
          ${job.status === 'queued' && html`<${WhyItWaits} job=${job} />`}
          ${job.error && html`<${Notice} kind="red" title=${words(job.error.type)}>${sentence(job.error.message)}${job.status === 'failed' && (job.error.retryable ? ' A retry may succeed.' : ' The same request would fail again.')}<//>`}
          <${Output} job=${job} events=${events} />
          <section class="card"><header><h2>What happened</h2></header><div class="inside"><${Timeline} job=${job} events=${events} /></div></section>
          <${Request} request=${request} gone=${gone} />
        </div>
        <${Side} job=${job} />
      </div>
    </div>`;
}

function Actions({ job, request, refresh }) {
  const run = async (action) => {
    const answers = await act(action, [job]);
    if (!answers) return;
    if (action === 'remove' && answers.length) go('jobs');
    else refresh();
  };
  const button = (action, icon, text, danger) => fitting(action, [job]).length > 0 && may(action) && html`
    <button class=${classes('button', danger && 'danger')} onClick=${() => run(action)}><${Icon} name=${icon} />${text}</button>`;
  return html`
    ${request && html`<${CopyButton} className="button" label="Copy as curl" text=${() => curlOf(request)} />`}
    ${request && can('jobs:write') && html`<a class="button" href=${href('submit', { from: job.jobId })}><${Icon} name="pen" />Edit and submit</a>`}
    ${button('retry', 'retry', 'Retry')}
    ${button('cancel', 'cross', 'Cancel', true)}
    ${ENDED.has(job.status) && button('remove', 'trash', 'Delete', true)}`;
}

function Output({ job, events }) {
  const running = job.status === 'processing';
  const text = job.result ?? events.text;
  if (!text && !running) return null;
  const letters = [...text].length;
  return html`
    <section class="card">
      <header><h2>${job.status === 'completed' ? 'Text' : running ? 'Text so far' : 'Text that came'}</h2>
        <span class="muted small">${count(letters)} characters</span>
        ${running && html`<span class=${classes('badge pill', events.connected ? 'blue live' : 'gray')}><span class="dot"></span>${events.connected ? 'Live' : 'Connecting'}</span>`}
        ${text && html`<span class="copyable"><${CopyButton} text=${text} label="Copy the text" /></span>`}
      </header>
      <div class="inside"><div class="job-text" tabindex="0" role="region" aria-label="Generated text">${text || html`<span class="muted">The model has not written anything yet.</span>`}${running && html`<span class="caret"></span>`}</div></div>
    </section>`;
}

function Request({ request, gone }) {
  if (gone) return html`<p class="muted small">The prompt is not shown: it was deleted when the job ended. Only failed jobs keep theirs.</p>`;
  if (!request) return null;
  const parameters = Object.entries(request.parameters ?? {});
  return html`
    <section class="card">
      <header><h2>Prompt</h2><span class="copyable"><${CopyButton} text=${request.prompt} label="Copy the prompt" /></span></header>
      <div class="inside">
        <div class="job-text" tabindex="0" role="region" aria-label="Prompt">${request.prompt}</div>
        ${parameters.length > 0 && html`<div class="parameters">${parameters.map(([name, value]) => html`<code>${name}: ${Array.isArray(value) ? value.join(', ') : String(value)}</code>`)}</div>`}
      </div>
    </section>`;
}

function Side({ job }) {
  const { usage } = job;
  const row = (name, value) => value != null && value !== '' && html`<dt>${name}</dt><dd>${value}</dd>`;
  return html`
    <aside class="job-side" aria-label="Details">
      <section><h2>Cost</h2><dl class="facts">
        ${row('Cost', job.costUsd == null ? (ENDED.has(job.status) ? 'not known' : '–') : usd(job.costUsd))}
        ${usage && html`${row('Input', `${count(usage.inputTokens)} tokens`)}${usage.cachedTokens > 0 && row('of it cached', count(usage.cachedTokens))}
          ${row('Output', `${count(usage.outputTokens)} tokens`)}${usage.reasoningTokens > 0 && row('of it thoughts', count(usage.reasoningTokens))}
          ${usage.estimated && row('Counted', 'estimated, not reported')}`}
        ${row('Finish', job.finishReason)}
      </dl></section>
      <section><h2>Times</h2><dl class="facts">
        ${row('Created', html`<span title=${full(job.createdAt)}>${since(job.createdAt)}</span>`)}
        ${row('Waited', job.startedAt ? between(job.createdAt, job.startedAt) : span(Date.now() - Date.parse(job.createdAt)))}
        ${row('Ran', job.startedAt && (job.endedAt ? between(job.startedAt, job.endedAt) : job.status === 'processing' ? span(Date.now() - Date.parse(job.startedAt)) : null))}
        ${row('Attempt', job.attempt ? `${job.attempt} of ${job.maxAttempts}` : `none of ${job.maxAttempts} yet`)}
        ${!ENDED.has(job.status) && row('Deadline', html`<span title=${full(job.deadlineAt)}>in ${span(Date.parse(job.deadlineAt) - Date.now())}</span>`)}
      </dl></section>
      <section><h2>Origin</h2><dl class="facts">
        ${row('Organisation', html`<${Copyable} text=${job.organizationId} mono=${false} />`)}
        ${row('Project', html`<${Copyable} text=${job.projectId} mono=${false} />`)}
        ${row('User', html`<${Copyable} text=${job.userId} mono=${false} />`)}
        ${row('Priority', job.priority)}
        ${row('Model', job.model && `${job.provider}:${job.model}`)}
        ${row('Retry of', job.retryOf && html`<${JobLink} jobId=${job.retryOf} />`)}
        ${row('Retried as', job.retriedAs && html`<${JobLink} jobId=${job.retriedAs} />`)}
        ${row('Metadata', job.requestMetadata && html`<code>${JSON.stringify(job.requestMetadata)}</code>`)}
      </dl></section>
    </aside>`;
}
