// Budgets of single projects of an organisation: fields of its dialog, and what of them was changed.

import { useRef } from 'preact/hooks';
import { html } from './html.js';
import { plural, usd } from './format.js';
import { Icon } from './icons.js';
import { Meter } from './parts.js';

const AMOUNTS = { monthUsd: 'A month, USD', dayUsd: 'A day, USD' };
const budgetsOf = (one) => one.budget?.projects ?? {};
const amount = (text) => (String(text ?? '').trim() === '' ? null : Number(text));

// Rows of the dialog; `kept`: its id is known and cannot be changed.
export const rowsOf = (one) => Object.entries(budgetsOf(one)).map(([id, budget]) => ({ id, kept: true, monthUsd: budget.monthUsd, dayUsd: budget.dayUsd }));

// What was changed, as the call takes it; undefined: nothing. null takes a budget away.
export function changesOfProjects(one, rows) {
  const before = budgetsOf(one);
  // Without a prototype: any word may be the id of a project.
  const change = Object.create(null);
  for (const row of rows) {
    const id = row.id.trim();
    if (!id) continue;
    for (const name of Object.keys(AMOUNTS)) {
      const now = amount(row[name]);
      if (now !== ((Object.hasOwn(before, id) ? before[id][name] : null) ?? null)) change[id] = { ...change[id], [name]: now };
    }
  }
  const left = new Set(rows.map((row) => row.id.trim()));
  for (const id of Object.keys(before)) if (!left.has(id)) change[id] = null;
  return Object.keys(change).length ? change : undefined;
}

export function ProjectBudgets({ one, rows, setRows }) {
  const added = useRef(false);
  const focus = (element) => {
    if (!element || !added.current) return;
    added.current = false;
    element.focus();
  };
  const add = () => {
    added.current = true;
    setRows([...rows, { id: '', kept: false }]);
  };
  const set = (index, name) => (event) => setRows(rows.map((row, at) => (at === index ? { ...row, [name]: event.target.value } : row)));
  const spent = one.usage?.projects ?? {};
  return html`
    <fieldset class="field-group"><legend>Budgets of projects</legend>
      <p class="muted small">Beside the organisation’s own: a job starts when both have room. Empty: any amount.</p>
      <div class="project-budgets">${rows.length > 0 && html`<div class="project-budget names muted small" aria-hidden="true"><span>Project</span>${Object.values(AMOUNTS).map((words) => html`<span>${words}</span>`)}<span class="end"></span></div>`}${rows.map((row, index) => html`
        <div class="project-budget">
          ${row.kept ? html`<div class="truncate" title=${row.id}><span class="mono">${row.id}</span>${spent[row.id] && html`<div class="muted small">${usd(spent[row.id].spentMonthUsd)} this month</div>`}</div>`
    : html`<input class="input mono" ref=${focus} aria-label="Project" placeholder="Project" required pattern="[!-~]+" title="Letters, digits and signs, without blanks" maxlength="128" spellcheck="false" autocomplete="off" value=${row.id} onInput=${set(index, 'id')} />`}
          ${Object.entries(AMOUNTS).map(([name, words]) => html`<input class="input" type="number" min="0" step="any" aria-label=${`Budget of ${row.id || 'the project'}: ${words}`} placeholder="any" value=${row[name] ?? ''} onInput=${set(index, name)} />`)}
          <button type="button" class="button quiet icon small" title="Take the budget away" aria-label=${`Take the budget of ${row.id || 'the project'} away`} onClick=${() => setRows(rows.filter((_, at) => at !== index))}><${Icon} name="cross" size="14" /></button>
        </div>`)}</div>
      <button type="button" class="button small" onClick=${add}><${Icon} name="plus" size="14" />Add a project</button>
    </fieldset>`;
}

const SHOWN = 2;

// The part of a budget that is spent, of the month's or the day's, whichever is more.
function used(budget, spent) {
  const part = (limit, sum) => (limit == null ? 0 : limit ? (sum ?? 0) / limit : 1);
  const [ofMonth, ofDay] = [part(budget.monthUsd, spent?.spentMonthUsd), part(budget.dayUsd, spent?.spentDayUsd)];
  return ofDay > ofMonth ? { part: ofDay, sum: spent?.spentDayUsd, limit: budget.dayUsd, when: ' today' } : { part: ofMonth, sum: spent?.spentMonthUsd, limit: budget.monthUsd ?? budget.dayUsd, when: budget.monthUsd == null ? ' today' : '' };
}

// The projects that have used most of theirs.
export function ProjectSpending({ one }) {
  const spent = one.usage?.projects ?? {};
  const all = Object.entries(budgetsOf(one)).map(([id, budget]) => ({ id, ...used(budget, spent[id]) })).sort((first, other) => other.part - first.part);
  if (!all.length) return null;
  return html`
    <div class="project-spending small">
      ${all.slice(0, SHOWN).map(({ id, part, sum, limit, when }) => html`<div><div class="muted"><span class="mono">${id}</span> ${usd(sum ?? 0)} of ${usd(limit)}${when}</div>
        <${Meter} part=${part} kind=${part >= 1 ? 'red' : part >= 0.8 ? 'amber' : ''} label=${`Budget of project ${id}`} /></div>`)}
      ${all.length > SHOWN && html`<div class="muted">and ${plural(all.length - SHOWN, 'more project')}</div>`}
    </div>`;
}
