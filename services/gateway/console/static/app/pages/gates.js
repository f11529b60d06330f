// Gates: one before each provider and model, for the whole fleet.

import { useState } from 'preact/hooks';
import { html } from '../html.js';
import { api } from '../api.js';
import { GateCalls } from '../gate_calls.js';
import { confirm, present } from '../dialog.js';
import { count, full, plural, until, words } from '../format.js';
import { Icon } from '../icons.js';
import { Empty, Fallback, Field, PageHead, Stale, Status } from '../parts.js';
import { useClock, useReading } from '../refresh.js';
import { isOperator } from '../session.js';
import { done, failed } from '../toast.js';

const MEANING = {
  available: 'Calls may pass.', slow_start: 'It was idle or blocked: few calls a second, doubled each second.',
  half_open: 'One call may pass, to find out whether the provider is back.', blocked: 'No call may pass.', paused: 'An operator paused it: no call is let out.',
};
const REASONS = { rate_limited: 'The provider asked to wait. ', unavailable: 'Too many calls failed in a row. ' };
const RANK = ['blocked', 'paused', 'half_open', 'slow_start', 'available'];
// A slash in a model's name is encoded twice: servers decode a path before they divide it.
const pathOf = (gate, action = '') => `api/admin/gates/${encodeURIComponent(gate.replaceAll('/', '%2F'))}${action}`;

export default function Gates() {
  const reading = useReading((signal) => api.get('api/admin/gates', {}, signal), []);
  useClock(1000);
  const gates = [...(reading.value?.gates ?? [])].sort((one, other) => RANK.indexOf(one.state) - RANK.indexOf(other.state) || one.gate.localeCompare(other.gate));
  const states = Object.fromEntries(gates.map((gate) => [gate.gate, gate.state]));
  return html`
    <div class="page scrolls">
      <${PageHead} title="Gates" lead="Rate limit and circuit breaker before each provider and model. What one worker learns, the whole fleet keeps to." />
      <${Stale} reading=${reading} />
      ${!reading.value ? html`<${Fallback} reading=${reading} icon="gates" what="Gates" />`
    : !gates.length ? html`<${Empty} icon="gates" title="No gate was used yet">A gate appears with the first call to its provider.<//>`
      : html`<div class="page-body gates">${gates.map((gate) => html`<${Gate} key=${gate.gate} gate=${gate} states=${states} refresh=${reading.refresh} />`)}</div>`}
    </div>`;
}

function Gate({ gate, states, refresh }) {
  const paused = gate.state === 'paused';
  return html`
    <section class="card gate" aria-label=${gate.gate}>
      <div style=${{ minWidth: 0 }}><h2 class="mono" style=${{ overflowWrap: 'anywhere', fontSize: '13px' }}>${gate.gate}</h2>
        <div class="muted small">${REASONS[gate.reason] ?? (gate.reason ? `${words(gate.reason)}. ` : '')}${MEANING[gate.state] ?? ''}</div></div>
      <div><${Status} status=${gate.state} pill />${gate.until && Date.parse(gate.until) > Date.now() && html`<div class="muted small" style=${{ marginTop: '4px' }} title=${full(gate.until)}>for ${until(gate.until)} more</div>`}</div>
      <dl class="facts small" style=${{ gap: '2px 12px' }}>
        ${gate.waiting != null && html`<dt>Waiting</dt><dd>${count(gate.waiting)}</dd>`}
        ${gate.requestsLeft != null && html`<dt>Calls left</dt><dd title="Of this minute">${count(gate.requestsLeft)}</dd>`}
        ${gate.tokensLeft != null && html`<dt>Tokens left</dt><dd title="Of this minute">${count(gate.tokensLeft)}</dd>`}
      </dl>
      ${isOperator.value && html`<div class="row-actions">
        ${gate.state === 'blocked' && html`<button class="button small" onClick=${() => unblock(gate, refresh)}><${Icon} name="play" size="14" />Unblock</button>`}
        <button class="button small" onClick=${() => turn(gate, paused, refresh)}><${Icon} name=${paused ? 'play' : 'pause'} size="14" />${paused ? 'Resume' : 'Pause'}</button>
        <button class="button quiet icon small" aria-label=${`Change the limits of ${gate.gate}`} title="Limits" onClick=${() => present((end) => html`<${Limits} gate=${gate} end=${end} refresh=${refresh} />`, { label: 'Limits' })}><${Icon} name="settings" size="14" /></button></div>`}
      ${gate.chains && html`<${GateCalls} gate=${gate} states=${states} />`}
    </section>`;
}

async function unblock(gate, refresh) {
  const waiting = gate.waiting ? ` ${plural(gate.waiting, 'job waits', 'jobs wait')} for it now.` : '';
  const sure = await confirm({
    title: `Unblock 1 gate, ${gate.gate}?`, action: 'Unblock 1 gate',
    text: `Its block ends now: the next call finds out whether the provider is back. If it is not, the gate is blocked again.${waiting}`,
    act: () => api.post(pathOf(gate.gate, '/resume')),
  });
  if (!sure) return;
  done(`Unblocked 1 gate, ${gate.gate}.`);
  refresh();
}

async function turn(gate, paused, refresh) {
  const waiting = gate.waiting ? ` ${plural(gate.waiting, 'job waits', 'jobs wait')} for it now.` : '';
  const sure = await confirm({
    title: `${paused ? 'Resume' : 'Pause'} 1 gate, ${gate.gate}?`, action: `${paused ? 'Resume' : 'Pause'} 1 gate`, danger: !paused,
    text: paused ? `Calls pass again, at the rate that the gate allows.${waiting}` : `No call is let out until it is resumed. Running calls end; jobs with another provider in their chain go there, the others wait, and their deadlines go on.${waiting}`,
    act: () => api.post(pathOf(gate.gate, paused ? '/resume' : '/pause')),
  });
  if (!sure) return;
  done(`${paused ? 'Resumed' : 'Paused'} 1 gate, ${gate.gate}.`);
  refresh();
}

function Limits({ gate, end, refresh }) {
  const [values, setValues] = useState({ requests: gate.requestsPerMinute ?? '', tokens: gate.tokensPerMinute ?? '' });
  const set = (name) => (event) => setValues({ ...values, [name]: event.target.value });
  const limit = (text) => (text === '' ? null : Number(text));
  const submit = async (event) => {
    event.preventDefault();
    try {
      await api.patch(pathOf(gate.gate), { requestsPerMinute: limit(values.requests), tokensPerMinute: limit(values.tokens) });
      done(`Changed the limits of 1 gate, ${gate.gate}.`);
      refresh();
      end();
    } catch (error) {
      failed(error);
    }
  };
  return html`
    <form onSubmit=${submit}>
      <div class="dialog-head"><h2>Change the limits of 1 gate, ${gate.gate}?</h2></div>
      <div class="dialog-body"><p class="muted">They hold for the whole fleet from the next call on. 0: no limit; empty: as the workers are set up.</p><div class="form-row">
        <${Field} id="requests" label="Calls a minute"><input class="input" id="requests" type="number" min="0" autofocus value=${values.requests} onInput=${set('requests')} /><//>
        <${Field} id="tokens" label="Tokens a minute"><input class="input" id="tokens" type="number" min="0" value=${values.tokens} onInput=${set('tokens')} /><//></div></div>
      <div class="dialog-foot"><button type="button" class="button" onClick=${() => end()}>Keep as they are</button><button class="button primary">Change 1 gate</button></div>
    </form>`;
}
