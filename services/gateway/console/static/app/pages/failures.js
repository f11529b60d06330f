// Failed jobs by cause: retried or discarded as a group, by a task of the workers.

import { useEffect, useState } from 'preact/hooks';
import { html } from '../html.js';
import { api } from '../api.js';
import { Chart, Spark } from '../chart.js';
import { csvOf } from '../csv.js';
import { Chip } from '../filters.js';
import { compact, count, full, since, span, plural, shortId, words } from '../format.js';
import { Icon } from '../icons.js';
import { confirm } from '../dialog.js';
import { readAll } from '../job_list.js';
import { useOrganizations } from '../organizations.js';
import { Empty, Fallback, JobLink, Meter, PageHead, Segments, Stale, saveFile } from '../parts.js';
import { useReading } from '../refresh.js';
import { change, href } from '../router.js';
import { can, isOperator } from '../session.js';
import { done, failed } from '../toast.js';

const PERIODS = [['1h', 'Last hour'], ['24h', 'Last day'], ['7d', 'Last week'], ['', 'All kept']];
const HOURS = { '1h': 1, '24h': 24, '7d': 168 };
const EXPORTED = 10000;
const startOf = (since) => (HOURS[since] ? new Date(Date.now() - HOURS[since] * 3600000) : null);

export default function Failures({ query }) {
  const { since = '', organizationId } = query;
  const organizations = useOrganizations();
  const [tasks, setTasks] = useState([]);
  const reading = useReading(async (signal) => {
    const from = startOf(since)?.toISOString();
    const groupBy = organizationId ? 'errorType,provider' : isOperator.value ? 'errorType,provider,organizationId' : 'errorType,provider';
    return { from, ...await api.get('api/admin/failures', { groupBy, from, organizationId }, signal) };
  }, [since, organizationId], { every: 10000 });
  const groups = reading.value?.groups ?? [];
  const started = (task) => { setTasks((before) => [...before, task]); reading.refresh(); };
  return html`
    <div class="page scrolls">
      <${PageHead} title="Failures" lead="Failed jobs that nobody dealt with, grouped by their cause. A retry makes one new job of each, with the same request.">
        ${groups.length > 0 && html`<button class="button" onClick=${() => save(query, reading.value.from)}><${Icon} name="download" />CSV</button>`}
      <//>
      <div class="bar">
        <${Segments} label="Time" value=${since} options=${PERIODS} onChange=${(value) => change({ since: value })} />
        ${isOperator.value && html`<${Chip} name="organizationId" label="Organisation" value=${organizationId} choices=${organizations} />`}
      </div>
      <${Stale} reading=${reading} />
      <div class="page-body stack">
        ${tasks.map((task) => html`<${Progress} key=${task.taskId} task=${task} ended=${() => { setTasks((before) => before.filter((one) => one !== task)); reading.refresh(); }} />`)}
      </div>
      ${!reading.value ? html`<${Fallback} reading=${reading} icon="failures" what="Failures by cause" />`
    : !groups.length ? html`<${Empty} icon="check" title="Nothing failed">${since ? 'Not in this time.' : 'Failed jobs are kept here until somebody deals with them.'}<//>`
      : html`<div class="page-body stack" style=${{ marginTop: tasks.length ? '16px' : 0 }}>
        ${reading.value.buckets && html`<${Curve} buckets=${reading.value.buckets} />`}
        <section class="card">
          <header><h2>${plural(groups.reduce((sum, group) => sum + group.count, 0), 'failed job')}</h2>${reading.value.cursor && html`<span class="muted small">and older ones</span>`}</header>
          ${groups.map((group) => html`<${Group} key=${[group.errorType, group.provider, group.organizationId].join()} ...${{ group, started, organizationId, from: reading.value.from }} />`)}
        </section>
        ${reading.value.dropped > 0 && html`<p class="muted small">${plural(reading.value.dropped, 'older failed job is', 'older failed jobs are')} not kept here any more: newer ones took ${reading.value.dropped === 1 ? 'its' : 'their'} place.</p>`}</div>`}
    </div>`;
}

// Columns of the time that the page shows; the present one grows.
function Curve({ buckets: { from, seconds, counts } }) {
  const begin = Date.parse(from) / 1000;
  const most = Math.max(...counts);
  const at = new Date((begin + counts.indexOf(most) * seconds) * 1000).toISOString();
  const label = `Failed jobs over time; the most, ${count(most)}, in the ${span(seconds * 1000)} from ${full(at)}`;
  return html`
    <section class="card" aria-labelledby="over-time">
      <header><h2 id="over-time">Over time</h2><span class="muted small">a column is ${columnName(seconds)}</span></header>
      <div class="inside"><${Chart} bars=${seconds} whole times=${counts.map((_, index) => begin + index * seconds)} series=${[{ label: 'Failed', colour: 'red-fill', values: counts }]} height=${150} format=${compact} label=${label} /></div>
    </section>`;
}

const UNITS = [[604800, 'week'], [86400, 'day'], [3600, 'hour'], [60, 'minute'], [1, 'second']];

function columnName(seconds) {
  const [unit, name] = UNITS.find(([one]) => seconds % one === 0);
  return plural(seconds / unit, name);
}

function Group({ group, started, organizationId, from }) {
  const organization = group.organizationId ?? organizationId;
  const filter = { errorType: group.errorType, ...(group.provider ? { provider: group.provider } : {}), ...(organization ? { organizationId: organization } : {}), ...(from ? { from } : {}) };
  return html`
    <div class="group">
      <div style=${{ minWidth: 0 }}>
        <div style=${{ display: 'flex', gap: '8px', alignItems: 'center', flexWrap: 'wrap' }}><strong style=${{ fontWeight: 500 }}>${words(group.errorType)}</strong>
          ${group.provider && html`<span class="tag">${group.provider}</span>`}${group.organizationId && html`<span class="tag">${group.organizationId}</span>`}</div>
        ${group.counts && html`<div style=${{ margin: '6px 0', maxWidth: '420px' }}><${Spark} values=${group.counts} label=${`${plural(group.count, 'failed job')} over time`} /></div>`}
        <div class="small muted truncate">for example ${group.jobIds.map((jobId, index) => html`${index > 0 && ', '}<${JobLink} jobId=${jobId}>${shortId(jobId)}<//>`)}</div>
      </div>
      <div style=${{ textAlign: 'right' }}><div style=${{ fontSize: '17px', fontWeight: 600 }}>${count(group.count)}</div><div class="small muted">${group.count === 1 ? 'job' : 'jobs'}</div></div>
      <div class="small muted of-span"><div title=${full(group.lastAt)}>last ${since(group.lastAt)}</div><div title=${full(group.firstAt)}>first ${since(group.firstAt)}</div></div>
      <div class="row-actions">
        <a class="button quiet small" href=${href('jobs', { status: 'failed', ...filter })}>Show</a>
        ${can('jobs:write') && html`<button class="button small" onClick=${() => deal('redrive', group, filter, started)}><${Icon} name="retry" size="14" />Retry ${count(group.count)}</button>`}
        ${can('jobs:cancel') && html`<button class="button quiet icon small" aria-label=${`Discard ${plural(group.count, 'job')}`} title="Discard" onClick=${() => deal('discard', group, filter, started)}><${Icon} name="trash" size="14" /></button>`}
      </div>
    </div>`;
}

const WORDS = {
  redrive: { verb: 'Retry', past: 'Retried', text: 'Each becomes one new job with the same request, at a rate that leaves room for new work. Jobs that fail meanwhile are not among them.' },
  discard: { verb: 'Discard', past: 'Discarded', text: 'They are listed no more, and their records end as those of other jobs. They can still be retried one by one until then.' },
};

// Asks with the count that is shown; where it has changed, asks again with the new one.
async function deal(kind, group, filter, started, expected = group.count) {
  const { verb, text } = WORDS[kind];
  let task = null;
  let changed = null;
  const sure = await confirm({
    title: `${verb} ${plural(expected, 'failed job')}?`, text: `Cause: ${words(group.errorType)}${group.organizationId ? `, of ${group.organizationId}` : ''}. ${text}`,
    action: `${verb} ${plural(expected, 'job')}`, danger: kind === 'discard',
    act: async () => {
      try {
        task = await api.post(`api/admin/failures/${kind}`, { filter, expected });
      } catch (error) {
        if (error.type !== 'count-changed') throw error;
        changed = error.problem.count;
      }
    },
  });
  if (changed !== null) {
    failed(`${plural(changed, 'job')} match now, not ${expected}. Nothing was done.`);
    deal(kind, group, filter, started, changed);
  } else if (sure && task) started({ ...task, kind });
}

function Progress({ task, ended }) {
  const { verb, past } = WORDS[task.kind];
  const reading = useReading((signal) => api.get(`api/admin/tasks/${task.taskId}`, {}, signal), [task.taskId], { every: 1000, eager: true });
  const now = reading.value ?? { done: 0, count: task.count, state: 'running' };
  useEffect(() => {
    if (now.state !== 'done') return;
    done(`${past} ${plural(now.done, 'job')}${now.done < now.count ? `; ${now.count - now.done} had been dealt with meanwhile` : ''}.`, task.kind === 'redrive' ? { href: href('jobs'), text: 'Show jobs' } : undefined);
    ended();
  }, [now.state]);
  return html`
    <div class="card"><div class="inside" style=${{ display: 'grid', gap: '8px' }}>
      <div style=${{ display: 'flex', justifyContent: 'space-between' }}><strong style=${{ fontWeight: 500 }}>${verb === 'Retry' ? 'Retrying' : 'Discarding'} ${plural(now.count, 'job')}</strong><span class="muted">${count(now.done)} done</span></div>
      <${Meter} part=${now.count ? now.done / now.count : 0} label="Progress" /></div></div>`;
}

async function save({ organizationId }, from) {
  try {
    const { jobs } = await readAll({ status: 'failed', organizationId, from }, EXPORTED);
    const rows = jobs.map((job) => [job.jobId, job.organizationId, job.projectId, job.userId, job.error?.type, job.error?.message, job.provider, job.model, job.createdAt, job.endedAt]);
    saveFile('presswork-failures.csv', csvOf(['jobId', 'organizationId', 'projectId', 'userId', 'errorType', 'message', 'provider', 'model', 'createdAt', 'endedAt'], rows), 'text/csv');
    done(`Saved ${plural(rows.length, 'failed job')}.`);
  } catch (error) {
    failed(error);
  }
}
