// Organisations: their share, work and spending against their limits.

import { useState } from 'preact/hooks';
import { html } from '../html.js';
import { api } from '../api.js';
import { confirm, present } from '../dialog.js';
import { count, plural, usd, words } from '../format.js';
import { Icon } from '../icons.js';
import { Empty, Fallback, Field, Meter, Notice, PageHead, Stale, faults } from '../parts.js';
import { useReading } from '../refresh.js';
import { href } from '../router.js';
import { caller, isOperator } from '../session.js';
import { done } from '../toast.js';

const LIMITS = {
  submitsPerMinute: 'Submits a minute', queuedJobs: 'Queued jobs', queuedBytes: 'Queued bytes', delayedJobs: 'Delayed jobs',
  runningJobs: 'Running jobs', tokensPerMinute: 'Tokens a minute', streams: 'Open streams',
};
const idOf = (one) => one.id ?? one.organizationId;

export default function Organizations() {
  const reading = useReading(async (signal) => {
    if (isOperator.value) return (await api.get('api/admin/organizations', {}, signal)).organizations;
    return [await api.get(`api/admin/organizations/${encodeURIComponent(caller.value.organizationId)}`, {}, signal)];
  }, [], { every: 5000 });
  const all = [...(reading.value ?? [])].sort((one, other) => running(other) - running(one) || idOf(one).localeCompare(idOf(other)));
  return html`
    <div class="page scrolls">
      <${PageHead} title="Organisations" lead="Each gets its share of the starts, within its limits and its budget." />
      <${Stale} reading=${reading} />
      ${!reading.value ? html`<${Fallback} reading=${reading} icon="organizations" what="Settings of organisations" />`
    : !all.length ? html`<${Empty} icon="organizations" title="No organisation yet">One appears with its first job or its first setting.<//>`
      : html`<div class="page-body"><section class="card table-wrap"><table class="table">
          <thead><tr><th>Organisation</th><th class="number wide">Weight</th><th class="number">Waiting</th><th class="number">Running</th><th style=${{ width: '26%' }}>Spent this month</th><th class="wide">Limits</th><th><span class="hidden-text">Actions</span></th></tr></thead>
          <tbody>${all.map((one) => html`<${Row} key=${idOf(one)} one=${one} refresh=${reading.refresh} />`)}</tbody></table></section></div>`}
    </div>`;
}

const running = (one) => one.usage?.running ?? 0;

function Row({ one, refresh }) {
  const id = idOf(one);
  const { usage = {}, budget = {}, limits = {} } = one;
  const set = Object.entries(limits).filter(([, value]) => value);
  const spent = usage.spentMonthUsd ?? usage.spent?.monthUsd ?? usage.spent ?? 0;
  const part = budget?.monthUsd ? spent / budget.monthUsd : 0;
  const edit = () => present((end) => html`<${Edit} one=${one} end=${end} refresh=${refresh} />`, { label: `Change ${id}`, wide: true });
  return html`
    <tr>
      <td><a class="link" href=${href('jobs', { organizationId: id })}>${id}</a> ${one.paused && html`<span class="badge pill amber"><span class="dot"></span>Paused</span>`}</td>
      <td class="number wide">${one.weight ?? 1}</td><td class="number">${count(usage.queued ?? 0)}</td><td class="number">${count(usage.running ?? 0)}</td>
      <td>${budget?.monthUsd ? html`<div style=${{ display: 'grid', gap: '5px' }}><span>${usd(spent)} <span class="muted">of ${usd(budget.monthUsd)}</span></span><${Meter} part=${part} kind=${part >= 1 ? 'red' : part >= 0.8 ? 'amber' : ''} label=${`Budget of ${id}`} /></div>` : html`${usd(spent)} <span class="muted">no budget</span>`}</td>
      <td class="wide muted small">${set.length ? set.map(([name, value]) => `${words(name)} ${count(value)}`).join(', ') : 'none'}</td>
      <td>${isOperator.value && html`<div class="row-actions">
        <button class="button small" onClick=${() => pause(one, refresh)}><${Icon} name=${one.paused ? 'play' : 'pause'} size="14" />${one.paused ? 'Resume' : 'Pause'}</button>
        <button class="button quiet icon small" title="Change" aria-label=${`Change ${id}`} onClick=${edit}><${Icon} name="settings" size="14" /></button></div>`}</td>
    </tr>`;
}

async function pause(one, refresh) {
  const id = idOf(one);
  const { queued = 0 } = one.usage ?? {};
  const sure = await confirm({
    title: `${one.paused ? 'Resume' : 'Pause'} 1 organisation, ${id}?`, action: `${one.paused ? 'Resume' : 'Pause'} 1 organisation`, danger: !one.paused,
    text: one.paused ? `It may submit again, and its ${plural(queued, 'waiting job')} may run.` : `Its submits are refused and its ${plural(queued, 'waiting job')} wait; running ones end.`,
    act: () => api.patch(`api/admin/organizations/${encodeURIComponent(id)}`, { paused: !one.paused }),
  });
  if (!sure) return;
  done(`${one.paused ? 'Resumed' : 'Paused'} 1 organisation, ${id}.`);
  refresh();
}

function Edit({ one, end, refresh }) {
  const id = idOf(one);
  const [values, setValues] = useState({ weight: one.weight ?? 1, monthUsd: one.budget?.monthUsd ?? '', dayUsd: one.budget?.dayUsd ?? '', ...Object.fromEntries(Object.keys(LIMITS).map((name) => [name, one.limits?.[name] || ''])) });
  const [error, setError] = useState(null);
  const bad = faults(error);
  const number = (name, label, more = {}) => html`<${Field} id=${`of-${name}`} label=${label} bad=${bad[name] ?? bad[`limits.${name}`] ?? bad[`budget.${name}`]}>
    <input class="input" id=${`of-${name}`} type="number" min="0" value=${values[name]} onInput=${(event) => setValues({ ...values, [name]: event.target.value })} ...${more} /><//>`;
  const submit = async (event) => {
    event.preventDefault();
    const figure = (name) => Number(values[name] || 0);
    try {
      await api.patch(`api/admin/organizations/${encodeURIComponent(id)}`, {
        weight: Number(values.weight), budget: { monthUsd: figure('monthUsd'), dayUsd: figure('dayUsd') }, limits: Object.fromEntries(Object.keys(LIMITS).map((name) => [name, figure(name)])),
      });
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
        <p class="muted">0 or empty: no limit. Waiting jobs notice at once.</p>
        <div class="form-row">${number('weight', 'Weight', { min: 1, max: 16, autofocus: true })}${number('monthUsd', 'Budget a month, USD', { step: 'any' })}${number('dayUsd', 'Budget a day, USD', { step: 'any' })}</div>
        <div class="form-row">${Object.entries(LIMITS).map(([name, label]) => number(name, label))}</div>
      </div>
      <div class="dialog-foot"><button type="button" class="button" onClick=${() => end()}>Keep as it is</button><button class="button primary">Change 1 organisation</button></div>
    </form>`;
}
