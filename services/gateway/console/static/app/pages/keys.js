// API keys: made (and shown once), replaced, revoked.

import { useState } from 'preact/hooks';
import { html, classes } from '../html.js';
import { api } from '../api.js';
import { Chip } from '../filters.js';
import { date, full, plural } from '../format.js';
import { Icon } from '../icons.js';
import { confirm, present } from '../dialog.js';
import { useOrganizations } from '../organizations.js';
import { Ago, CopyButton, Empty, Fallback, Field, Notice, PageHead, Segments, Stale, faults } from '../parts.js';
import { useReading } from '../refresh.js';
import { change } from '../router.js';
import { caller, isOperator } from '../session.js';
import { done, failed } from '../toast.js';

const SCOPES = {
  'jobs:write': 'submit and retry jobs', 'jobs:read': 'read jobs and their texts', 'jobs:cancel': 'cancel and delete jobs',
  'events:read': 'watch texts arrive', 'usage:read': 'read tokens and cost', 'stats:read': 'read the queue’s counts', admin: 'administer keys and settings',
};
const USUAL = ['jobs:write', 'jobs:read', 'jobs:cancel', 'events:read', 'usage:read'];
const ended = (key) => Boolean(key.revokedAt) || (key.expiresAt && Date.parse(key.expiresAt) <= Date.now());

export default function Keys({ query }) {
  const organizations = useOrganizations();
  const reading = useReading((signal) => api.get('api/admin/keys', { organizationId: query.organizationId }, signal), [query.organizationId], { every: 30000 });
  const keys = (reading.value?.keys ?? []).filter((key) => query.ended === '1' || !ended(key));
  const create = async () => { if (await present((end) => html`<${Create} end=${end} organizations=${organizations} />`, { label: 'New key', wide: true })) reading.refresh(); };
  return html`
    <div class="page scrolls">
      <${PageHead} title="Keys" lead="Programs and people call with a key. Its text is shown once and stored as a hash.">
        <button class="button primary" onClick=${create}><${Icon} name="plus" />New key</button>
      <//>
      <div class="bar">
        <${Segments} label="Keys" value=${query.ended === '1' ? '1' : ''} options=${[['', 'Valid'], ['1', 'With ended ones']]} onChange=${(value) => change({ ended: value })} />
        ${isOperator.value && html`<${Chip} name="organizationId" label="Organisation" value=${query.organizationId} choices=${['*', ...organizations]} />`}
      </div>
      <${Stale} reading=${reading} />
      ${!reading.value ? html`<${Fallback} reading=${reading} icon="keys" what="Keys" />`
    : !keys.length ? html`<${Empty} icon="keys" title="No keys">Keys that are made appear here, with the day of their last use.<//>`
      : html`<${List} keys=${keys} refresh=${reading.refresh} />`}
    </div>`;
}

const List = ({ keys, refresh }) => html`
  <div class="page-body table-wrap"><table class="table">
    <thead><tr><th>Key</th><th>Organisation</th><th>Rights</th><th class="wide">Last use</th><th class="wide">Ends</th><th class="wide">Made</th><th><span class="hidden-text">Actions</span></th></tr></thead>
    <tbody>${keys.map((key) => html`
      <tr key=${key.id} class=${classes(ended(key) && 'ended')}>
        <td><div>${key.label || html`<span class="muted">without a label</span>`}${key.id === caller.value?.keyId && html` <span class="tag">this session</span>`}</div><code class="muted">pw_${key.id}_…</code></td>
        <td class="nowrap">${key.organizationId === '*' ? html`<span class="tag">operator</span>` : key.organizationId}</td>
        <td><${Scopes} scopes=${key.scopes} models=${key.models} /></td>
        <td class="wide nowrap muted">${key.lastUsedOn ? date(key.lastUsedOn) : 'never'}</td>
        <td class="wide nowrap muted" title=${full(key.revokedAt ?? key.expiresAt)}>${key.revokedAt ? 'revoked' : key.expiresAt ? date(key.expiresAt) : 'never'}</td>
        <td class="wide nowrap muted"><${Ago} at=${key.createdAt} /></td>
        <td><div class="row-actions">${!ended(key) && html`
          <button class="button quiet icon small" title="Rotate" aria-label=${`Rotate the key ${key.label || key.id}`} onClick=${() => rotate(key, refresh)}><${Icon} name="rotate" /></button>
          <button class="button small danger" aria-label=${`Revoke the key ${key.label || key.id}`} onClick=${() => revoke(key, refresh)}>Revoke</button>`}</div></td>
      </tr>`)}</tbody>
  </table></div>`;

function Scopes({ scopes, models }) {
  const all = Object.keys(SCOPES).every((scope) => scopes.includes(scope));
  return html`<div style=${{ display: 'flex', flexWrap: 'wrap', gap: '4px' }}>
    ${all ? html`<span class="tag">all</span>` : scopes.map((scope) => html`<span class="tag">${scope}</span>`)}
    ${models.map((model) => html`<span class="tag mono">${model}</span>`)}</div>`;
}

const nameOf = (key) => key.label || `pw_${key.id}`;

async function revoke(key, refresh) {
  const own = key.id === caller.value?.keyId;
  const sure = await confirm({
    title: `Revoke 1 key, ${nameOf(key)}?`, action: 'Revoke 1 key', danger: true,
    text: `It ends at once and for good; its open streams end within 30 seconds.${own ? ' It is the key of this session: you will be signed out.' : ''}`,
    act: () => api.remove(`api/admin/keys/${key.id}`),
  });
  if (!sure) return;
  done(`Revoked 1 key, ${nameOf(key)}.`);
  refresh();
}

async function rotate(key, refresh) {
  const made = await present((end) => html`<${Rotate} name=${nameOf(key)} id=${key.id} end=${end} />`, { label: 'Rotate' });
  if (made) refresh();
}

function Rotate({ name, id, end }) {
  const [overlap, setOverlap] = useState('86400');
  const [made, setMade] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      setMade(await api.post(`api/admin/keys/${id}/rotate`, { overlapSeconds: Number(overlap) }));
      done(`Rotated 1 key, ${name}.`);
    } catch (error) {
      failed(error);
    }
  };
  if (made) return html`<${Made} made=${made} end=${end} />`;
  return html`
    <form onSubmit=${submit}>
      <div class="dialog-head"><h2>Rotate 1 key, ${name}?</h2></div>
      <div class="dialog-body">
        <p class="muted">A new key with the same rights is made. The old one goes on for a while, so that programs can change over.</p>
        <${Field} id="overlap" label="The old key ends">
          <select class="select" id="overlap" value=${overlap} onChange=${(event) => setOverlap(event.target.value)} autofocus>
            <option value="0">at once</option><option value="3600">in an hour</option><option value="86400">in a day</option><option value="604800">in a week</option>
          </select><//>
      </div>
      <div class="dialog-foot"><button type="button" class="button" onClick=${() => end()}>Keep as it is</button><button class="button primary">Rotate 1 key</button></div>
    </form>`;
}

function Create({ end, organizations }) {
  const [values, setValues] = useState({ organizationId: '', label: '', scopes: USUAL, days: '', models: '' });
  const [error, setError] = useState(null);
  const [made, setMade] = useState(null);
  const [busy, setBusy] = useState(false);
  const bad = faults(error);
  const set = (name) => (event) => setValues({ ...values, [name]: event.target.value });
  const own = isOperator.value ? Object.keys(SCOPES) : caller.value.scopes;
  const toggle = (scope) => setValues({ ...values, scopes: values.scopes.includes(scope) ? values.scopes.filter((one) => one !== scope) : [...values.scopes, scope] });
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      setMade(await api.post('api/admin/keys', wanted(values, own)));
      done('Made 1 key.');
    } catch (refused) {
      setError(refused);
    }
    setBusy(false);
  };
  if (made) return html`<${Made} made=${made} end=${end} />`;
  return html`
    <form onSubmit=${submit}>
      <div class="dialog-head"><h2>New key</h2></div>
      <div class="dialog-body">
        ${error && !error.problem?.errors && html`<${Notice} kind="red">${error.message}<//>`}
        <div class="form-row">
          ${isOperator.value && html`<${Field} id="key-organization" label="Organisation" hint="* makes an operator's key" bad=${bad.organizationId}>
            <input class="input" id="key-organization" required autofocus list="key-organizations" spellcheck="false" autocomplete="off" value=${values.organizationId} onInput=${set('organizationId')} />
            <datalist id="key-organizations"><option value="*"></option>${organizations.map((id) => html`<option value=${id}></option>`)}</datalist><//>`}
          <${Field} id="key-label" label="Label" hint="For people, as in billing service" bad=${bad.label}><input class="input" id="key-label" maxlength="100" value=${values.label} onInput=${set('label')} /><//>
        </div>
        <fieldset class="field" style=${{ border: 0, padding: 0, margin: 0 }}><legend class="label" style=${{ padding: 0, marginBottom: '8px', fontWeight: 500 }}>Rights</legend>
          <div class="scope-list">${own.map((scope) => html`
            <label class="check"><input type="checkbox" checked=${values.scopes.includes(scope)} onChange=${() => toggle(scope)} /><span><code>${scope}</code><br /><span class="muted small">${SCOPES[scope]}</span></span></label>`)}</div>
          ${bad.scopes && html`<div class="bad">${bad.scopes}</div>`}
        </fieldset>
        <div class="form-row">
          <${Field} id="key-days" label="Ends" bad=${bad.expiresAt}><select class="select" id="key-days" value=${values.days} onChange=${set('days')}>
            <option value="">never</option><option value="1">in a day</option><option value="30">in 30 days</option><option value="90">in 90 days</option><option value="365">in a year</option></select><//>
          <${Field} id="key-models" label="Models" hint="provider:model, empty: all" bad=${bad.models ?? bad['models[0]']}><input class="input mono" id="key-models" spellcheck="false" value=${values.models} onInput=${set('models')} /><//>
        </div>
      </div>
      <div class="dialog-foot"><button type="button" class="button" onClick=${() => end()}>Cancel</button>
        <button class="button primary" disabled=${busy || !values.scopes.length}>Make 1 key with ${plural(values.scopes.length, 'right')}</button></div>
    </form>`;
}

function wanted(values, own) {
  const models = values.models.split(/[\s,]+/).filter(Boolean);
  return {
    scopes: values.scopes.filter((scope) => own.includes(scope)), label: values.label.trim(),
    ...(isOperator.value ? { organizationId: values.organizationId.trim() } : {}),
    ...(values.days ? { expiresAt: new Date(Date.now() + Number(values.days) * 86400000).toISOString() } : {}),
    ...(models.length ? { models } : {}),
  };
}

const Made = ({ made, end }) => html`
  <div class="dialog-head"><h2>The key is made</h2></div>
  <div class="dialog-body">
    <p class="muted">Copy it now: it is shown here once and never again.</p>
    <div class="secret"><span>${made.key}</span></div>
    <div><${CopyButton} className="button primary" text=${made.key} label="Copy the key" /></div>
  </div>
  <div class="dialog-foot"><button class="button" onClick=${() => end(true)}>I have copied it</button></div>`;
