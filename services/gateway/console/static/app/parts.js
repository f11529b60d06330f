// Parts that several pages are made of.

import { useState } from 'preact/hooks';
import { html, classes } from './html.js';
import { Icon } from './icons.js';
import { ago, full } from './format.js';
import { href } from './router.js';

const COLOURS = {
  queued: 'hollow', processing: 'blue live', completed: 'green', failed: 'red', cancelled: 'gray',
  throttled: 'amber', delayed: 'hollow',
  available: 'green', blocked: 'red', half_open: 'amber', slow_start: 'blue', paused: 'amber',
};
const NAMES = { processing: 'running', half_open: 'half-open', slow_start: 'slow start' };

export const statusName = (status) => {
  const name = NAMES[status] ?? status;
  return name.charAt(0).toUpperCase() + name.slice(1);
};

export const Status = ({ status, pill = false }) => html`
  <span class=${classes('badge', COLOURS[status] ?? 'gray', pill && 'pill')}><span class="dot"></span>${statusName(status)}</span>`;

// The same without its name, beside one that says it.
export const StateDot = ({ status }) => (status ? html`<span class=${`badge ${COLOURS[status] ?? 'gray'}`} title=${statusName(status)}><span class="dot"></span></span>` : null);

export const Ago = ({ at }) => (at ? html`<time datetime=${at} title=${full(at)}>${ago(at)}</time>` : html`<span class="faint">–</span>`);

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

export function CopyButton({ text, label = 'Copy', className }) {
  const [copied, setCopied] = useState(false);
  const copy = async (event) => {
    event.stopPropagation();
    if (await copyText(typeof text === 'function' ? text() : text)) {
      setCopied(true);
      setTimeout(() => setCopied(false), 1600);
    }
  };
  return className
    ? html`<button type="button" class=${className} onClick=${copy}><${Icon} name=${copied ? 'check' : 'copy'} />${copied ? 'Copied' : label}</button>`
    : html`<button type="button" aria-label=${label} title=${label} onClick=${copy}><${Icon} name=${copied ? 'check' : 'copy'} size="14" /></button>`;
}

export const Copyable = ({ text, shown = text, mono = true }) => html`
  <span class="copyable"><span class=${classes('truncate', mono && 'mono')} title=${text}>${shown}</span><${CopyButton} text=${text} label=${`Copy ${text}`} /></span>`;

export const PageHead = ({ title, lead, crumbs, children }) => html`
  <header class="page-head">
    <div>
      ${crumbs && html`<div class="crumbs">${crumbs}</div>`}
      ${typeof title === 'string' ? html`<h1 tabindex="-1">${title}</h1>` : title}
      ${lead && html`<p class="lead">${lead}</p>`}
    </div>
    <div class="page-actions">${children}</div>
  </header>`;

export const Empty = ({ icon = 'jobs', title, children }) => html`
  <div class="empty"><div class="sign"><${Icon} name=${icon} size="20" /></div><h2>${title}</h2><p>${children}</p></div>`;

export const Notice = ({ kind = 'gray', icon = 'failures', title, children }) => html`
  <div class=${`notice ${kind}`}><${Icon} name=${icon} /><div>${title && html`<h2>${title}</h2>`}${children}</div></div>`;

// The state of a reading that has no value to show: absent calls, lacking rights, errors, or still loading.
export function Fallback({ reading, icon, what }) {
  const { error } = reading;
  if (!error) {
    return html`<div class="page-body stack" aria-busy="true" aria-label="Loading">
      ${[72, 58, 66, 44].map((width) => html`<div class="skeleton" style=${{ width: `${width}%` }}></div>`)}</div>`;
  }
  if (error.absent) return html`<${Absent} icon=${icon} what=${what} />`;
  if (error.status === 403) {
    return html`<${Empty} icon="shield" title="This key may not see this">The gateway says: ${error.message}. Sign in with another key, or ask for one with that right.<//>`;
  }
  return html`<${Empty} icon="failures" title=${error.title || 'This could not be read'}>${error.message}
    <br /><button class="button" onClick=${reading.refresh}><${Icon} name="refresh" />Try again</button><//>`;
}

export const Absent = ({ icon, what }) => html`
  <${Empty} icon=${icon} title="Not on this gateway">${what} come with a later release of the gateway. Everything else works.<//>`;

// A line above a page whose last reading failed, while older values are still shown.
export const Stale = ({ reading }) => (reading.error && reading.value !== undefined
  ? html`<div class="page-body" style=${{ paddingBottom: '12px' }}><${Notice} kind="amber">Not up to date: ${reading.error.message}<//></div>` : null);

export const Segments = ({ label, value, options, onChange }) => html`
  <div class="segments" role="group" aria-label=${label}>
    ${options.map(([key, text]) => html`<button type="button" aria-pressed=${String(value === key)} onClick=${() => onChange(key)}>${text}</button>`)}
  </div>`;

export const Field = ({ id, label, hint, bad, children }) => html`
  <div class="field"><label for=${id}>${label}</label>${children}
    ${bad ? html`<div class="bad" id=${`${id}-note`}>${bad}</div>` : hint && html`<div class="hint" id=${`${id}-note`}>${hint}</div>`}</div>`;

export const Meter = ({ part, kind, label }) => html`
  <div class=${`meter ${kind ?? ''}`} role="meter" aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(part * 100)} aria-label=${label}>
    <div style=${{ width: `${Math.min(100, Math.max(part > 0 ? 2 : 0, part * 100))}%` }}></div></div>`;

export const JobLink = ({ jobId, children }) => html`<a class="link mono" href=${href(`jobs/${jobId}`)}>${children ?? jobId}</a>`;

// The messages of a refused form, by field.
export const faults = (error) => Object.fromEntries((error?.problem?.errors ?? []).map((one) => [one.field, one.message]));

export function saveFile(name, text, kind) {
  const url = URL.createObjectURL(new Blob([text], { type: kind }));
  const link = Object.assign(document.createElement('a'), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
