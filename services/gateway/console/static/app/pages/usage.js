// Tokens and cost of a month: by day, project and model.

import { useMemo } from 'preact/hooks';
import { html } from '../html.js';
import { api, optional } from '../api.js';
import { Chart } from '../chart.js';
import { csvOf } from '../csv.js';
import { Chip } from '../filters.js';
import { compact, count, usd } from '../format.js';
import { Icon } from '../icons.js';
import { useOrganizations } from '../organizations.js';
import { Empty, Fallback, Meter, PageHead, Segments, Stale, saveFile } from '../parts.js';
import { useReading } from '../refresh.js';
import { change } from '../router.js';
import { can, isOperator } from '../session.js';

const monthOf = (query) => (/^\d{4}-\d{2}$/.test(query.month ?? '') ? query.month : new Date().toISOString().slice(0, 7));
const monthName = (month) => new Date(`${month}-15T00:00:00Z`).toLocaleDateString('en-GB', { month: 'long', year: 'numeric', timeZone: 'UTC' });

function moved(month, step) {
  const [year, number] = month.split('-').map(Number);
  return new Date(Date.UTC(year, number - 1 + step, 1)).toISOString().slice(0, 7);
}

function bounds(month) {
  const last = new Date(Date.UTC(Number(month.slice(0, 4)), Number(month.slice(5)), 0)).getUTCDate();
  return { from: `${month}-01`, to: `${month}-${String(last).padStart(2, '0')}` };
}

export default function Usage({ query }) {
  const month = monthOf(query);
  const organizations = useOrganizations();
  const { organizationId } = query;
  const every = isOperator.value && !organizationId;
  const reading = useReading((signal) => (every ? readAll(month, signal) : readOne(organizationId, month, signal)), [organizationId, month, every], { every: 60000 });
  const today = new Date().toISOString().slice(0, 7);
  const rows = reading.value?.rows ?? [];
  return html`
    <div class="page scrolls">
      <${PageHead} title="Usage" lead="Tokens and cost of jobs that ended, by the day (UTC) of their end.">
        <button class="button icon" aria-label="The month before" onClick=${() => change({ month: moved(month, -1) })}><span style=${{ transform: 'rotate(180deg)' }}><${Icon} name="right" /></span></button>
        <span style=${{ minWidth: '112px', textAlign: 'center', fontWeight: 500 }}>${monthName(month)}</span>
        <button class="button icon" aria-label="The month after" disabled=${month >= today} onClick=${() => change({ month: moved(month, 1) })}><${Icon} name="right" /></button>
        <button class="button" disabled=${!rows.length} onClick=${() => save(rows, organizationId, month)}><${Icon} name="download" />CSV</button>
      <//>
      ${isOperator.value && html`<div class="bar"><${Chip} name="organizationId" label="Organisation" value=${organizationId} choices=${organizations} /></div>`}
      <${Stale} reading=${reading} />
      ${reading.value === undefined ? html`<${Fallback} reading=${reading} icon="usage" what="Figures of usage" />`
    : reading.value === null ? html`<${Choose} organizations=${organizations} />`
      : !rows.length ? html`<${Empty} icon="usage" title="Nothing was used in this month">Days appear here as their jobs end.<//>`
        : html`<${Report} value=${reading.value} month=${month} query=${query} />`}
    </div>`;
}

const Choose = ({ organizations }) => html`
  <${Empty} icon="organizations" title="Choose an organisation">This gateway adds up the usage of one organisation at a time.<//>
  <div class="page-body" style=${{ display: 'flex', flexWrap: 'wrap', gap: '8px', justifyContent: 'center' }}>
    ${organizations.map((id) => html`<button class="button" onClick=${() => change({ organizationId: id })}>${id}</button>`)}</div>`;

const SUMS = ['jobs', 'inputTokens', 'outputTokens', 'cachedTokens', 'costUsd', 'unknownCostJobs', 'estimatedJobs'];

// One organisation: { rows, totals }; a row is a day, a project and a model.
async function readOne(organizationId, month, signal) {
  const { from, to } = bounds(month);
  const rows = [];
  let totals = null;
  let first = from;
  while (first) {
    const part = await api.get('api/ai/usage', { organizationId, from: first, to }, signal);
    totals ??= part.totals;
    for (const day of part.days) {
      for (const project of day.projects) {
        for (const model of project.models) rows.push({ ...pick(model), day: day.date, project: project.projectId, model: `${model.provider}:${model.model}`, organization: part.organizationId });
      }
    }
    first = part.next;
  }
  return { rows, totals };
}

const pick = (sums) => Object.fromEntries(SUMS.map((name) => [name, sums[name]]));

// All organisations, where the gateway adds them up; null where it does not.
async function readAll(month, signal) {
  if (!can('admin')) return null;
  const found = await optional('api/admin/usage', { ...bounds(month), groupBy: 'organization,model,project,day' }, signal);
  if (!found) return null;
  const rows = (found.rows ?? found.groups ?? []).map((row) => ({
    ...pick(row), day: row.day ?? row.date, project: row.project ?? row.projectId, organization: row.organization ?? row.organizationId,
    model: row.provider ? `${row.provider}:${row.model}` : row.model,
  }));
  return { rows, totals: found.totals ?? sumOf(rows) };
}

function sumOf(rows) {
  const total = Object.fromEntries(SUMS.map((name) => [name, 0]));
  for (const row of rows) for (const name of SUMS) total[name] += row[name] ?? 0;
  return total;
}

function grouped(rows, name) {
  const groups = new Map();
  for (const row of rows) groups.set(row[name], [...(groups.get(row[name]) ?? []), row]);
  return [...groups].map(([key, held]) => ({ key, ...sumOf(held) })).sort((one, other) => other.costUsd - one.costUsd || other.jobs - one.jobs);
}

function Report({ value, month, query }) {
  const { rows, totals } = value;
  const shown = ['cost', 'tokens', 'jobs'].includes(query.show) ? query.show : totals.costUsd > 0 ? 'cost' : 'tokens';
  const by = useMemo(() => ({ model: grouped(rows, 'model'), project: grouped(rows, 'project'), organization: grouped(rows, 'organization') }), [rows]);
  const { times, values } = useMemo(() => daily(rows, month, shown), [rows, month, shown]);
  return html`
    <div class="page-body stack">
      <div class="tiles">
        <${Tile} name="Cost" figure=${usd(totals.costUsd)} beside=${totals.unknownCostJobs > 0 && `without ${count(totals.unknownCostJobs)} jobs of unknown cost`} />
        <${Tile} name="Jobs" figure=${compact(totals.jobs)} beside=${totals.estimatedJobs > 0 && `${count(totals.estimatedJobs)} with estimated tokens`} />
        <${Tile} name="Input tokens" figure=${compact(totals.inputTokens)} beside=${totals.cachedTokens > 0 && `${compact(totals.cachedTokens)} cached`} />
        <${Tile} name="Output tokens" figure=${compact(totals.outputTokens)} />
      </div>
      <section class="card">
        <header><h2>By day</h2><${Segments} label="Figure" value=${shown} options=${[['cost', 'Cost'], ['tokens', 'Tokens'], ['jobs', 'Jobs']]} onChange=${(show) => change({ show })} /></header>
        <div class="inside"><${Chart} bars=${86400} times=${times} label=${`${shown} by day`} series=${[{ label: shown, colour: 'accent', values }]} format=${shown === 'cost' ? usd : compact} /></div>
      </section>
      ${by.organization.length > 1 && html`<${Shares} title="By organisation" groups=${by.organization} total=${totals} />`}
      <div class="columns"><${Shares} title="By model" groups=${by.model} total=${totals} mono /><${Shares} title="By project" groups=${by.project} total=${totals} /></div>
    </div>`;
}

const Tile = ({ name, figure, beside }) => html`<div class="tile"><div class="name">${name}</div><div class="figure">${figure}</div><div class="beside">${beside || ''}</div></div>`;

function daily(rows, month, shown) {
  const { to } = bounds(month);
  const values = new Map();
  for (const row of rows) {
    const figure = shown === 'cost' ? row.costUsd ?? 0 : shown === 'jobs' ? row.jobs : row.inputTokens + row.outputTokens;
    values.set(row.day, (values.get(row.day) ?? 0) + figure);
  }
  const days = Array.from({ length: Number(to.slice(8)) }, (_, index) => `${month}-${String(index + 1).padStart(2, '0')}`);
  return { times: days.map((one) => Date.parse(`${one}T12:00:00Z`) / 1000), values: days.map((one) => values.get(one) ?? 0) };
}

const Shares = ({ title, groups, total, mono }) => html`
  <section class="card">
    <header><h2>${title}</h2><span class="muted small">${groups.length}</span></header>
    <div class="table-wrap"><table class="table">
      <thead><tr><th>Name</th><th class="number">Jobs</th><th class="number">Tokens</th><th class="number">Cost</th></tr></thead>
      <tbody>${groups.slice(0, 100).map((one) => html`
        <tr key=${one.key}><td style=${{ width: '45%' }}><div class=${mono ? 'mono' : ''} style=${{ overflowWrap: 'anywhere', marginBottom: '5px' }}>${one.key}</div>
          <${Meter} part=${total.costUsd ? one.costUsd / total.costUsd : one.jobs / Math.max(1, total.jobs)} label=${`Share of ${one.key}`} /></td>
        <td class="number">${count(one.jobs)}</td><td class="number muted">${compact(one.inputTokens + one.outputTokens)}</td><td class="number">${usd(one.costUsd)}</td></tr>`)}</tbody>
    </table></div>
  </section>`;

function save(rows, organizationId, month) {
  const head = ['organizationId', 'day', 'projectId', 'model', ...SUMS];
  const text = csvOf(head, rows.map((row) => [row.organization, row.day, row.project, row.model, ...SUMS.map((name) => row[name])]));
  saveFile(`presswork-usage-${organizationId ? `${organizationId.replace(/[^\w.-]/g, '_')}-` : ''}${month}.csv`, text, 'text/csv');
}
