// Jobs: newest first, live, filtered by what the address says.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { html, classes } from '../html.js';
import { Chip } from '../filters.js';
import { ago, between, full, plural, shortId, span, usd, words } from '../format.js';
import { Grid } from '../grid.js';
import { Icon } from '../icons.js';
import { act, fitting, may } from '../job_actions.js';
import { readAll, useJobs } from '../job_list.js';
import { useKeys } from '../keyboard.js';
import { useOrganizations } from '../organizations.js';
import { Empty, Fallback, PageHead, Segments, Stale, Status } from '../parts.js';
import { useClock } from '../refresh.js';
import { change, go, href } from '../router.js';
import { can, isOperator } from '../session.js';
import { failed } from '../toast.js';

const STATES = [['', 'All'], ['queued', 'Queued'], ['processing', 'Running'], ['completed', 'Completed'], ['failed', 'Failed'], ['cancelled', 'Cancelled']];
const MORE = [['errorType', 'Error'], ['provider', 'Provider'], ['projectId', 'Project'], ['userId', 'User']];
const MOST = 10000;

export default function Jobs({ query }) {
  const [live, setLive] = useState(true);
  const organizations = useOrganizations();
  const filter = useMemo(() => Object.fromEntries(
    ['organizationId', 'status', ...MORE.map(([name]) => name), 'from', 'to'].map((name) => [name, query[name]]).filter(([, value]) => value),
  ), [JSON.stringify(query)]);
  const list = useJobs(filter, { live });
  const choice = useChoice(list.jobs, filter);
  const single = !isOperator.value || Boolean(filter.organizationId);
  useClock(5000);

  return html`
    <${PageHead} title="Jobs" lead=${`Newest first, ${live ? 'as they change' : 'not being refreshed'}${list.everywhere && !single && !filter.status ? '. Completed jobs are listed of one organisation' : ''}.`}>
      <button class="button" aria-pressed=${String(live)} onClick=${() => setLive(!live)}><${Icon} name=${live ? 'pause' : 'play'} />${live ? 'Pause' : 'Go live'}</button>
      ${can('jobs:write') && html`<a class="button primary" href=${href('submit', { organizationId: filter.organizationId })}><${Icon} name="plus" />New job</a>`}
    <//>
    <div class="bar" role="search" aria-label="Filters">
      <${Segments} label="Status" value=${filter.status ?? ''} options=${STATES} onChange=${(status) => change({ status })} />
      ${isOperator.value && html`<${Chip} name="organizationId" label="Organisation" value=${filter.organizationId} choices=${organizations} />`}
      ${list.everywhere && MORE.map(([name, label]) => html`<${Chip} name=${name} label=${label} value=${filter[name]} choices=${valuesOf(list.jobs, name)} />`)}
      ${Object.keys(filter).length > 0 && html`<button class="button quiet small" onClick=${() => go('jobs')}>Clear</button>`}
    </div>
    ${!lacksOrganization(list, filter) && html`<${Stale} reading=${list.reading} />`}
    <${List} list=${list} filter=${filter} choice=${choice} single=${single} organizations=${organizations} />
    ${choice.chosen.size > 0 && html`<${Selection} list=${list} filter=${filter} choice=${choice} />`}`;
}

const OF = { errorType: (job) => job.error?.type, provider: (job) => job.provider, projectId: (job) => job.projectId, userId: (job) => job.userId };
const valuesOf = (jobs, name) => [...new Set(jobs.slice(0, 1000).map(OF[name]).filter(Boolean))].sort();

// Completed jobs are listed of one organisation alone.
const lacksOrganization = ({ reading }, filter) => isOperator.value && !filter.organizationId && reading.error?.status === 400;

function List({ list, filter, choice, single, organizations }) {
  const { reading, jobs } = list;
  if (lacksOrganization(list, filter)) return html`<${Choose} organizations=${organizations} everywhere=${list.everywhere} />`;
  if (!jobs.length && (reading.error || reading.value === undefined)) return html`<${Fallback} reading=${reading} icon="jobs" what="Listings of jobs" />`;
  if (!jobs.length && reading.loading) return html`<${Fallback} reading=${{}} />`;
  if (!jobs.length) return html`<${NoJobs} filter=${filter} />`;
  return html`
    <${Grid} label="Jobs" items=${jobs} keyOf=${(job) => job.jobId} onEnd=${list.more} cursor=${choice.cursor} total=${list.cursor ? -1 : jobs.length + 1}
      head=${html`<${Head} single=${single} choice=${choice} jobs=${jobs} />`}
      foot=${list.cursor ? 'Reading more…' : `${plural(jobs.length, 'job')}`}
      row=${(job, index) => html`<${JobRow} ...${{ job, index, single }} chosen=${choice.chosen.has(job.jobId)} at=${choice.cursor === index} toggle=${choice.toggle} />`} />`;
}

const Choose = ({ organizations, everywhere }) => html`
  <${Empty} icon="organizations" title="Choose an organisation">${everywhere ? 'Completed jobs are listed of one organisation at a time, all others over all of them.' : 'This gateway lists the jobs of one organisation at a time.'}
    ${everywhere && html`<br /><button class="button" onClick=${() => change({ status: '' })}>All other jobs</button>`}<//>
  <div class="page-body" style=${{ display: 'flex', flexWrap: 'wrap', gap: '8px', justifyContent: 'center' }}>
    ${organizations.map((id) => html`<button class="button" onClick=${() => change({ organizationId: id })}>${id}</button>`)}
    <${Chip} name="organizationId" label="Another one" choices=${organizations} />
  </div>`;

const NoJobs = ({ filter }) => (Object.keys(filter).length
  ? html`<${Empty} icon="search" title="No job matches">Nothing is hidden: no job has all of these properties.<br /><button class="button" onClick=${() => go('jobs')}>Clear the filters</button><//>`
  : html`<${Empty} icon="jobs" title="No jobs yet">As soon as one is submitted, it appears here.${can('jobs:write') && html`<br /><a class="button primary" href=${href('submit')}><${Icon} name="plus" />New job</a>`}<//>`);

function Head({ single, choice, jobs }) {
  const all = jobs.length > 0 && jobs.every((job) => choice.chosen.has(job.jobId));
  return html`
    <div class=${classes('grid-head jobs-grid', single && 'single')} role="row">
      <span role="columnheader" class="of-choice">${choice.able && html`<input type="checkbox" aria-label="Choose all rows that were read" checked=${all} onChange=${() => choice.all(!all)} />`}<span class="hidden-text">Choice</span></span>
      <span role="columnheader">Status</span><span role="columnheader">Job</span>
      ${!single && html`<span role="columnheader">Organisation</span>`}
      <span role="columnheader" class="of-project">Project</span><span role="columnheader">Model, or why not</span>
      <span role="columnheader" class="number of-time">Time</span><span role="columnheader" class="number of-cost">Cost</span><span role="columnheader" class="number">Age</span>
    </div>`;
}

function JobRow({ job, single, chosen, at, toggle }) {
  const note = job.error ? words(job.error.type) : job.waiting ? words(job.waiting.reason) : '';
  const model = job.model ? `${job.provider}:${job.model}` : '';
  return html`
    <div class=${classes('grid-row jobs-grid', single && 'single', chosen && 'chosen', at && 'cursor')} role="row"
      onClick=${(event) => { if (!event.target.closest('input, a, button')) go(`jobs/${job.jobId}`); }}>
      <span role="cell" class="of-choice"><input type="checkbox" aria-label=${`Choose ${job.jobId}`} checked=${chosen} onChange=${() => toggle(job.jobId)} /></span>
      <span role="cell" class="of-status"><${Status} status=${job.status ?? job.jobStatus ?? 'unknown'} /></span>
      <span role="cell" class="of-id truncate"><a class="mono" href=${href(`jobs/${job.jobId}`)} title=${job.jobId}>${shortId(job.jobId)}</a></span>
      ${!single && html`<span role="cell" class="of-organization truncate">${job.organizationId}</span>`}
      <span role="cell" class="of-project truncate muted">${job.projectId}</span>
      <span role="cell" class="of-model truncate" title=${job.error?.message ?? model}>${note
        ? html`<span class=${classes('jobs-row-note', job.error && 'red')}>${note}</span>` : html`<span class="muted">${model}</span>`}</span>
      <span role="cell" class="number of-time muted">${timeOf(job)}</span>
      <span role="cell" class="number of-cost muted">${job.costUsd == null ? '' : usd(job.costUsd)}</span>
      <span role="cell" class="number of-age muted" title=${full(job.createdAt)}>${ago(job.createdAt)}</span>
    </div>`;
}

// How long it ran, or has run; nothing while it waits.
function timeOf(job) {
  if (!job.startedAt) return '';
  if (job.endedAt) return between(job.startedAt, job.endedAt);
  return job.status === 'processing' ? span(Date.now() - Date.parse(job.startedAt)) : '';
}

// Rows that are chosen for an action, and the row that the keyboard is at.
function useChoice(jobs, filter) {
  const [chosen, setChosen] = useState(new Map());
  const [cursor, setCursor] = useState(-1);
  const at = useRef(-1);  // the next key may come before the next rendering
  const place = (index) => { at.current = index; setCursor(index); };
  const able = may('cancel') || may('retry');
  useEffect(() => { setChosen(new Map()); place(-1); }, [JSON.stringify(filter)]);

  const known = new Map(jobs.map((job) => [job.jobId, job]));
  const toggle = (id) => setChosen((before) => {
    const next = new Map(before);
    if (!next.delete(id) && known.has(id)) next.set(id, known.get(id));
    return next;
  });
  const set = (list) => setChosen(new Map(list.map((job) => [job.jobId, job])));
  const move = (step) => place(Math.max(0, Math.min(jobs.length - 1, at.current + step)));
  const current = () => jobs[at.current];
  useKeys({
    j: () => move(1), k: () => move(-1), n: () => (can('jobs:write') ? go('submit') : false),
    x: () => (current() && able ? toggle(current().jobId) : false),
    Enter: (event) => (current() && !event.target.closest('a, button, input') ? go(`jobs/${current().jobId}`) : false),
    Escape: () => (chosen.size ? setChosen(new Map()) : false),
  });
  // A job may have changed since it was chosen: the newest row counts.
  const newest = () => [...chosen.values()].map((job) => known.get(job.jobId) ?? job);
  return { chosen, cursor, able, toggle, set, newest, all: (on) => set(on ? jobs : []), none: () => setChosen(new Map()) };
}

function Selection({ list, filter, choice }) {
  const [reading, setReading] = useState(0);
  const chosen = choice.newest();
  const matching = async () => {
    setReading(1);
    try {
      const { jobs, whole } = await readAll(filter, MOST, setReading);
      choice.set(jobs);
      if (!whole) failed(`More than ${MOST.toLocaleString('en')} match: the newest of them are chosen.`);
    } catch (error) {
      failed(error);
    }
    setReading(0);
  };
  const run = async (action) => {
    if (await act(action, choice.newest())) {
      choice.none();
      list.reading.refresh();
    }
  };
  return html`
    <div class="selection" role="region" aria-label="Chosen jobs">
      <span>${reading ? `Reading… ${reading}` : `${chosen.length.toLocaleString('en')} chosen`}</span>
      ${list.cursor && html`<button class="button quiet small" disabled=${reading > 0} onClick=${matching}>Choose all that match</button>`}
      ${['cancel', 'retry'].map((action) => {
        const able = fitting(action, chosen).length;
        return able > 0 && may(action) && html`
          <button class=${classes('button small', action === 'cancel' && 'danger')} onClick=${() => run(action)}>
            <${Icon} name=${action === 'cancel' ? 'cross' : 'retry'} size="14" />${action === 'cancel' ? 'Cancel' : 'Retry'} ${able.toLocaleString('en')}</button>`;
      })}
      <button class="button quiet icon small" aria-label="Choose none" onClick=${choice.none}><${Icon} name="cross" size="14" /></button>
    </div>`;
}
