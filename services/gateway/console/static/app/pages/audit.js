// The audit trail: who changed what, newest first.

import { useEffect, useState } from 'preact/hooks';
import { html } from '../html.js';
import { api } from '../api.js';
import { Chip } from '../filters.js';
import { full, usd, words } from '../format.js';
import { Icon } from '../icons.js';
import { useOrganizations } from '../organizations.js';
import { Ago, Empty, Fallback, PageHead, Stale, saveFile } from '../parts.js';
import { useReading } from '../refresh.js';
import { isOperator } from '../session.js';
import { failed } from '../toast.js';

const ICONS = [[/revoke|delete/, 'trash'], [/rotate/, 'rotate'], [/key/, 'keys'], [/pause/, 'pause'], [/cancel/, 'cross'], [/organi[sz]ation|limit|budget/, 'organizations'], [/job/, 'jobs']];
const iconOf = (action) => ICONS.find(([pattern]) => pattern.test(action))?.[1] ?? 'audit';

export default function Audit({ query }) {
  const { organizationId } = query;
  const organizations = useOrganizations();
  const reading = useReading((signal) => api.get('api/admin/audit', { organizationId, limit: 100 }, signal), [organizationId], { every: 15000 });
  const [older, setOlder] = useState({ entries: [], cursor: undefined });
  useEffect(() => setOlder({ entries: [], cursor: undefined }), [organizationId]);

  const first = reading.value?.entries ?? [];
  const newest = new Set(first.map((entry) => entry.id));
  const entries = [...first, ...older.entries.filter((entry) => !newest.has(entry.id))];
  const cursor = older.cursor === undefined ? reading.value?.cursor : older.cursor;
  const more = async () => {
    try {
      const page = await api.get('api/admin/audit', { organizationId, cursor, limit: 100 });
      setOlder((before) => ({ entries: [...before.entries, ...page.entries], cursor: page.cursor }));
    } catch (error) {
      failed(error);
    }
  };
  const save = async () => {
    try {
      saveFile('presswork-audit.jsonl', await api.text('api/admin/audit', { organizationId, limit: 1000, format: 'lines' }, 'application/x-ndjson'), 'application/x-ndjson');
    } catch (error) {
      failed(error);
    }
  };
  return html`
    <div class="page scrolls">
      <${PageHead} title="Audit" lead="Who changed keys, settings and jobs. No texts are kept here.">
        <button class="button" onClick=${save}><${Icon} name="download" />JSON lines</button>
      <//>
      ${isOperator.value && html`<div class="bar"><${Chip} name="organizationId" label="Organisation" value=${organizationId} choices=${['*', ...organizations]} /></div>`}
      <${Stale} reading=${reading} />
      ${!reading.value ? html`<${Fallback} reading=${reading} icon="audit" what="Audit trails" />`
    : !entries.length ? html`<${Empty} icon="audit" title="Nothing was changed yet">Changes of keys and settings appear here.<//>`
      : html`<div class="page-body table-wrap"><table class="table">
          <thead><tr><th>Action</th><th>About</th><th class="wide">By</th><th class="wide">From</th><th>When</th></tr></thead>
          <tbody>${entries.map((entry) => html`<${Entry} key=${entry.id} entry=${entry} />`)}</tbody></table>
          ${cursor && html`<p style=${{ padding: '16px 0' }}><button class="button" onClick=${more}>Show older entries</button></p>`}</div>`}
    </div>`;
}

const title = (action) => {
  const text = words(action.replace(/[.:]/g, ' '));
  return text.charAt(0).toUpperCase() + text.slice(1);
};

const Entry = ({ entry }) => html`
  <tr>
    <td class="nowrap"><div style=${{ display: 'flex', gap: '10px', alignItems: 'center' }}><span class="faint"><${Icon} name=${iconOf(entry.action)} /></span>${title(entry.action)}</div></td>
    <td><div>${entry.organizationId === '*' ? html`<span class="tag">operators</span>` : entry.organizationId}</div>${Object.keys(entry.details).length > 0 && html`<div class="muted small" style=${{ overflowWrap: 'anywhere' }}>${detailsOf(entry.details)}</div>`}</td>
    <td class="wide"><code>${entry.by}</code></td>
    <td class="wide muted"><code>${entry.address}</code></td>
    <td class="muted nowrap" title=${full(entry.at)}><${Ago} at=${entry.at} /></td>
  </tr>`;

const changeOf = ([name, value]) => (name.endsWith('_nano_usd')
  ? `budget a ${name.split('_')[0]} ${value == null ? 'none' : usd(value / 1e9)}` : `${words(name)} ${value ?? 'the default'}`);
const valueOf = (value) => (Array.isArray(value) ? value.join(', ') : typeof value === 'object' && value ? JSON.stringify(value) : String(value));
const ALL_SCOPES = 7;
const shown = (name, value) => (name === 'changes' ? Object.entries(value).map(changeOf).join(', ') : name === 'scopes' && value.length >= ALL_SCOPES ? 'all' : valueOf(value));
const detailsOf = (details) => Object.entries(details).map(([name, value]) => `${words(name)}: ${shown(name, value)}`).join(' · ');
