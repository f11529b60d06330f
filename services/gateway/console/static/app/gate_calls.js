// What is known of a gate's calls: the chains of jobs that may pass it, and which errors the failed ones had.

import { html, classes } from './html.js';
import { count, plural, words } from './format.js';
import { StateDot, statusName } from './parts.js';

const COLOURS = ['red-fill', 'amber-fill', 'blue-fill', 'accent', 'gray-fill'];
const SHOWN_CHAINS = 3;

export const GateCalls = ({ gate, states }) => html`
  <div class="gate-calls">
    <${Chains} gate=${gate} states=${states} />
    ${gate.errors && html`<${Errors} errors=${gate.errors} />`}
  </div>`;

function Chains({ gate, states }) {
  const { chains } = gate;
  const shown = chains.slice(0, SHOWN_CHAINS);
  const more = chains.slice(SHOWN_CHAINS);
  const draw = (chain) => html`<${Chain} chain=${chain} gate=${gate.gate} states=${states} />`;
  return html`
    <div>
      <h3>${chains.length === 1 ? 'Chain' : 'Chains'}</h3>
      ${chains.length ? shown.map(draw) : html`<p class="muted small">No job of the last day had it in its chain.</p>`}
      ${more.length > 0 && html`<details class="small"><summary class="link">${plural(more.length, 'more chain')}</summary>${more.map(draw)}</details>`}
      ${chains.length > 0 && html`<p class="muted small">${whenBlocked(gate.gate, chains, states)}</p>`}
    </div>`;
}

// The gates in order of preference.
const Chain = ({ chain, gate, states }) => html`
  <ol class="chain">${chain.map((name) => html`
    <li class=${classes(name === gate && 'here')} aria-current=${name === gate ? 'true' : undefined}><${StateDot} status=${states[name]} /><span class="mono">${name}</span></li>`)}</ol>`;

// Where jobs go when this gate lets none pass.
function whenBlocked(gate, chains, states) {
  const next = [...new Set(chains.map((chain) => chain[chain.indexOf(gate) + 1]))];
  const known = next.filter(Boolean);
  const named = known.map((name, index) => html`${index > 0 && ' or '}<span class="mono">${name}</span>${states[name] && states[name] !== 'available' ? ` (${statusName(states[name]).toLowerCase()} now)` : ''}`);
  if (!known.length) return 'When it lets none pass, jobs wait: none has another behind it.';
  return html`When it lets none pass, jobs go on to ${named}${next.length > known.length ? '; those that have none behind it wait' : ''}.`;
}

// The mix of the last hour, else of the last day.
function Errors({ errors }) {
  const ofHour = errors.some((one) => one.lastHour > 0);
  const calls = (one) => (ofHour ? one.lastHour : one.lastDay);
  const all = errors.reduce((sum, one) => sum + calls(one), 0);
  const shown = errors.filter((one) => calls(one) > 0);
  const colour = (index) => COLOURS[Math.min(index, COLOURS.length - 1)];
  if (!errors.length) return html`<div><h3>Failed calls</h3><p class="muted small">None in the last day.</p></div>`;
  const label = `${plural(all, 'failed call')} of the last ${ofHour ? 'hour' : 'day'}: ${shown.map((one) => `${count(calls(one))} ${words(one.errorType).toLowerCase()}`).join(', ')}`;
  return html`
    <div>
      <h3>Failed calls</h3>
      <div class="mix" role="img" aria-label=${label}>${shown.map((one, index) => html`<i style=${{ flexGrow: calls(one), background: `var(--${colour(index)})` }}></i>`)}</div>
      <table class="mix-list small"><thead><tr><th class="muted">Error</th><th class="muted">Last hour</th><th class="muted">Last day</th></tr></thead>
        <tbody>${errors.map((one, index) => html`<tr>
          <td><i style=${{ background: `var(--${calls(one) ? colour(index) : 'gray-soft'})` }}></i>${words(one.errorType)}</td><td>${count(one.lastHour)}</td><td>${count(one.lastDay)}</td></tr>`)}</tbody></table>
    </div>`;
}
