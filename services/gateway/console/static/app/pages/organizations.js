// Organisations: their share, work and spending against their limits.

import { useState } from 'preact/hooks';
import { html } from '../html.js';
import { api, optional } from '../api.js';
import { confirm, present } from '../dialog.js';
import { count, plural, usd, words } from '../format.js';
import { Icon } from '../icons.js';
import { Empty, Fallback, Field, Meter, Notice, PageHead, Stale, faults } from '../parts.js';
import { ProjectBudgets, ProjectSpending, changesOfProjects, rowsOf } from '../project_budgets.js';
import { useReading } from '../refresh.js';
import { href } from '../router.js';
import { caller, isOperator } from '../session.js';
import { done } from '../toast.js';

const LIMITS = {
  submitsPerMinute: 'Submits a minute', queuedJobs: 'Queued jobs', queuedBytes: 'Queued bytes', delayedJobs: 'Delayed jobs',
  runningJobs: 'Running jobs', tokensPerMinute: 'Tokens a minute', streams: 'Open streams',
};
const KEPT = {
  promptSeconds: 'Prompts, s', resultSeconds: 'Results, s', failedSeconds: 'Failed jobs, s', eventsSeconds: 'Event logs, s', usageDays: 'Usage, days',
};
const MOST = 2000;
const idOf = (one) => one.id ?? one.organizationId;
const running = (one) => one.usage?.running ?? 0;
const queued = (one) => one.usage?.queued ?? 0;

async function readAll(signal) {
  if (!isOperator.value) return [await api.get(`api/admin/organizations/${encodeURIComponent(caller.value.organizationId)}`, {}, signal)];
  const found = [];
  let cursor;
  do {
    const page = await api.get('api/admin/organizations', { limit: 500, cursor }, signal);
    found.push(...page.organizations);
    cursor = page.cursor;
  } while (cursor && found.length < MOST);
  return found;
}

// The cost of the jobs that ended this month (UTC), by organisation.
async function readSpent(signal) {
  const found = await optional('api/admin/usage', { groupBy: 'organization', from: `${new Date().toISOString().slice(0, 7)}-01`, top: 1000 }, signal);
  return found && new Map(found.groups.map((group) => [group.organizationId, group.costUsd]));
}

export default function Organizations() {
  const reading = useReading(readAll, [], { every: 5000 });
  const spending = useReading(readSpent, [], { every: 60000 });
  const all = [...(reading.value ?? [])].sort((one, other) => queued(other) + running(other) - queued(one) - running(one) || idOf(one).localeCompare(idOf(other)));
  const spends = all.some((one) => one.budget) || spending.value;
  return html`
    <div class="page scrolls">
      <${PageHead} title="Organisations" lead="Each gets its share of the starts, by its weight and within its limits." />
      <${Stale} reading=${reading} />
      ${!reading.value ? html`<${Fallback} reading=${reading} icon="organizations" what="Settings of organisations" />`
    : !all.length ? html`<${Empty} icon="organizations" title="No organisation yet">One appears with its first key or its first setting.<//>`
      : html`<div class="page-body"><section class="card table-wrap"><table class="table">
          <thead><tr><th>Organisation</th><th class="number wide">Weight</th><th class="number">Waiting</th><th class="number">Running</th>${spends && html`<th style=${{ width: '24%' }}>Spent this month</th>`}<th class="wide">Limits of its own</th><th><span class="hidden-text">Actions</span></th></tr></thead>
          <tbody>${all.map((one) => html`<${Row} key=${idOf(one)} one=${one} spends=${spends} spent=${spending.value?.get(idOf(one))} refresh=${reading.refresh} />`)}</tbody></table></section></div>`}
    </div>`;
}

function Row({ one, spends, spent, refresh }) {
  const id = idOf(one);
  const set = Object.entries(one.limits ?? {}).filter(([, value]) => value != null);
  const edit = () => present((end) => html`<${Edit} one=${one} end=${end} refresh=${refresh} />`, { label: `Change ${id}`, wide: true });
  return html`
    <tr>
      <td><a class="link" href=${href('jobs', { organizationId: id })}>${id}</a> ${one.paused && html`<span class="badge pill amber"><span class="dot"></span>Paused</span>`}</td>
      <td class="number wide">${one.weight ?? 1}</td><td class="number"><${Jobs} id=${id} status="queued" number=${queued(one)} /></td><td class="number"><${Jobs} id=${id} status="processing" number=${running(one)} /></td>
      ${spends && html`<td><${Spent} one=${one} used=${spent} /><${ProjectSpending} one=${one} /></td>`}
      <td class="wide muted small">${set.length ? set.map(([name, value]) => `${LIMITS[name] ?? words(name)} ${value ? count(value) : 'unlimited'}`).join(', ') : 'none'}</td>
      <td>${isOperator.value && html`<div class="row-actions">
        <button class="button small" onClick=${() => pause(one, refresh)}><${Icon} name=${one.paused ? 'play' : 'pause'} size="14" />${one.paused ? 'Resume' : 'Pause'}</button>
        <button class="button quiet icon small" title="Change" aria-label=${`Change ${id}`} onClick=${edit}><${Icon} name="settings" size="14" /></button></div>`}</td>
    </tr>`;
}

const Jobs = ({ id, status, number }) => (number ? html`<a class="link" href=${href('jobs', { organizationId: id, status })}>${count(number)}</a>` : '0');

// Without a budget nothing is summed up for one: then it is the cost of the jobs that ended.
function Spent({ one, used }) {
  const { usage = {}, budget } = one;
  if (budget?.monthUsd == null) return html`${usd(used ?? 0)} <span class="muted">no budget</span>`;
  const spent = usage.spentMonthUsd ?? 0;
  const part = budget.monthUsd ? spent / budget.monthUsd : 1;
  return html`<div style=${{ display: 'grid', gap: '5px' }}><span>${usd(spent)} <span class="muted">of ${usd(budget.monthUsd)}</span></span>
    <${Meter} part=${part} kind=${part >= 1 ? 'red' : part >= 0.8 ? 'amber' : ''} label=${`Budget of ${idOf(one)}`} /></div>`;
}

async function pause(one, refresh) {
  const id = idOf(one);
  const sure = await confirm({
    title: `${one.paused ? 'Resume' : 'Pause'} 1 organisation, ${id}?`, action: `${one.paused ? 'Resume' : 'Pause'} 1 organisation`, danger: !one.paused,
    text: one.paused ? `It may submit again, and its ${plural(queued(one), 'waiting job')} may run.` : `Its submits are refused and its ${plural(queued(one), 'waiting job')} ${queued(one) === 1 ? 'waits' : 'wait'}; running ones end.`,
    act: () => api.patch(`api/admin/organizations/${encodeURIComponent(id)}`, { paused: !one.paused }),
  });
  if (!sure) return;
  done(`${one.paused ? 'Resumed' : 'Paused'} 1 organisation, ${id}.`);
  refresh();
}

// The fields that this gateway knows: those that its answer has. null: the fleet's default.
function fieldsOf(one) {
  return {
    weight: one.weight ?? 1,
    ...('slotShare' in one ? { slotShare: one.slotShare } : {}),
    ...(one.budget ? { monthUsd: one.budget.monthUsd, dayUsd: one.budget.dayUsd } : {}),
    ...one.limits,
    ...one.retention,
  };
}

const LABELS = { ...LIMITS, ...KEPT, weight: 'Weight', slotShare: 'Most slots, per cent', monthUsd: 'Budget a month, USD', dayUsd: 'Budget a day, USD' };

// An empty field means something else in each group.
function groupsOf(one) {
  const names = Object.keys(fieldsOf(one)), { usage = {} } = one;
  const spent = usage.spentMonthUsd == null ? '' : ` So far ${usd(usage.spentMonthUsd)} this month, ${usd(usage.spentDayUsd ?? 0)} today (UTC).`;
  return [
    { title: 'Share', meaning: 'Of the starts, beside other organisations that wait. Empty: the fleet’s default.', names: names.filter((name) => name === 'weight' || name === 'slotShare') },
    { title: 'Budget', meaning: `Empty: any amount. 0: nothing may be spent.${spent}`, names: names.filter((name) => name.endsWith('Usd')) },
    { title: 'Limits', meaning: 'Empty: the fleet’s default. 0: no limit.', names: names.filter((name) => name in (one.limits ?? {})) },
    { title: 'Retention', meaning: 'After a job’s end. Empty: as long as the fleet keeps it.', names: names.filter((name) => name in (one.retention ?? {})) },
  ].filter((group) => group.names.length);
}

// Only what was changed is sent.
function changesOf(one, values, rows) {
  const projects = changesOfProjects(one, rows);
  const change = projects ? { budget: { projects } } : {};
  for (const [name, before] of Object.entries(fieldsOf(one))) {
    const text = String(values[name] ?? '').trim();
    const now = text === '' ? null : Number(text);
    if (now === (before ?? null)) continue;
    if (name in (one.limits ?? {})) change.limits = { ...change.limits, [name]: now };
    else if (name in (one.retention ?? {})) change.retention = { ...change.retention, [name]: now };
    else if (name.endsWith('Usd')) change.budget = { ...change.budget, [name]: now };
    else change[name] = now;
  }
  return change;
}

function Edit({ one, end, refresh }) {
  const id = idOf(one);
  const [values, setValues] = useState(fieldsOf(one));
  const [rows, setRows] = useState(rowsOf(one));
  const [error, setError] = useState(null);
  const bad = faults(error);
  const changed = Object.keys(changesOf(one, values, rows)).length > 0;
  const submit = async (event) => {
    event.preventDefault();
    try {
      await api.patch(`api/admin/organizations/${encodeURIComponent(id)}`, changesOf(one, values, rows));
      done(`Changed 1 organisation, ${id}.`);
      refresh();
      end();
    } catch (refused) {
      setError(refused);
    }
  };
  return html`
    <form onSubmit=${submit}>
      <div class="dialog-head"><h2>Change 1 organisation, ${id}?</h2></div>
      <div class="dialog-body">
        ${error && html`<${Notice} kind="red">${error.message}<//>`}
        <p class="muted">Waiting jobs notice at once.</p>
        ${groupsOf(one).map(({ title, meaning, names }) => html`<fieldset class="field-group"><legend>${title}</legend><p class="muted small">${meaning}</p>
          <div class="form-row">${names.map((name) => html`
          <${Field} id=${`of-${name}`} label=${LABELS[name] ?? words(name)} bad=${bad[name] ?? bad[`limits.${name}`] ?? bad[`budget.${name}`] ?? bad[`retention.${name}`]}>
            <input class="input" id=${`of-${name}`} type="number" min=${name === 'weight' ? 1 : 0} step=${name.endsWith('Usd') ? 'any' : 1} autofocus=${name === 'weight'}
              value=${values[name] ?? ''} onInput=${(event) => setValues({ ...values, [name]: event.target.value })} /><//>`)}</div></fieldset>
          ${title === 'Budget' && one.budget.projects && html`<${ProjectBudgets} one=${one} rows=${rows} setRows=${setRows} />`}`)}
      </div>
      <div class="dialog-foot"><button type="button" class="button" onClick=${() => end()}>Keep as it is</button><button class="button primary" disabled=${!changed}>Change 1 organisation</button></div>
    </form>`;
}
