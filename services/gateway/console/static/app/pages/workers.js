// Workers: their slots, release and health.

import { html } from '../html.js';
import { api } from '../api.js';
import { confirm } from '../dialog.js';
import { count, plural } from '../format.js';
import { Icon } from '../icons.js';
import { Ago, Empty, Fallback, Meter, PageHead, Stale } from '../parts.js';
import { useReading } from '../refresh.js';
import { done, failed } from '../toast.js';

const DRAWN = 100;
const stateOf = (worker) => {
  if (!worker.progress) return 'stuck';
  if (worker.draining) return worker.jobsHeld ? 'draining' : 'drained';
  return worker.jobsHeld ? 'working' : 'idle';
};
const COLOURS = { working: 'green', idle: 'green', draining: 'amber', drained: 'amber', stuck: 'red' };

export default function Workers() {
  const reading = useReading((signal) => api.get('api/admin/workers', {}, signal), []);
  const workers = reading.value?.workers ?? [];
  const slots = workers.reduce((sum, one) => sum + (one.slots), 0);
  const busy = workers.reduce((sum, one) => sum + (one.busy), 0);
  return html`
    <div class="page scrolls">
      <${PageHead} title="Workers" lead=${workers.length ? `${plural(workers.length, 'worker')}; ${count(busy)} of ${count(slots)} slots busy.` : 'Processes that run jobs.'} />
      <${Stale} reading=${reading} />
      ${!reading.value ? html`<${Fallback} reading=${reading} icon="workers" what="Workers" />`
    : !workers.length ? html`<${Empty} icon="workers" title="No worker is there">Jobs wait until one is started.<//>`
      : html`<div class="page-body"><section class="card table-wrap"><table class="table">
          <thead><tr><th>Worker</th><th>State</th><th style=${{ width: '32%' }}>Slots</th><th class="number wide">Jobs held</th><th class="wide">Release</th><th class="wide">Last seen</th><th><span class="hidden-text">Actions</span></th></tr></thead>
          <tbody>${workers.map((worker) => html`<${Row} key=${worker.name} worker=${worker} refresh=${reading.refresh} />`)}</tbody></table></section></div>`}
    </div>`;
}

function Row({ worker, refresh }) {
  const state = stateOf(worker);
  return html`
    <tr>
      <td><div style=${{ fontWeight: 500 }}>${worker.host}</div><code class="muted small nowrap wide">${worker.name}</code></td>
      <td><span class=${`badge ${COLOURS[state] ?? 'gray'}`}><span class="dot"></span>${state.charAt(0).toUpperCase() + state.slice(1)}</span></td>
      <td><${Slots} slots=${worker.slots} busy=${worker.busy} /></td>
      <td class="number wide">${count(worker.jobsHeld)}</td>
      <td class="muted wide">${worker.release}</td>
      <td class="muted nowrap wide"><${Ago} at=${worker.lastSeenAt} /></td>
      <td><div class="row-actions">${worker.draining ? html`<button class="button small" onClick=${() => resume(worker, refresh)}><${Icon} name="play" size="14" />Resume</button>`
    : html`<button class="button small" onClick=${() => drain(worker, refresh)}><${Icon} name="out" size="14" />Drain</button>`}</div></td>
    </tr>`;
}

const Slots = ({ slots, busy }) => html`
  <div style=${{ display: 'grid', gap: '5px' }} title=${`${busy} of ${slots} busy`}>
    ${slots > 0 && slots <= DRAWN ? html`<div class="slots" role="img" aria-label=${`${busy} of ${slots} slots busy`}>${Array.from({ length: slots }, (_, index) => html`<i class=${index < busy ? 'busy' : ''}></i>`)}</div>`
    : html`<${Meter} part=${slots ? busy / slots : 0} label=${`${busy} of ${slots} slots busy`} />`}
    <span class="muted small">${count(busy)} of ${count(slots)}</span></div>`;

async function drain(worker, refresh) {
  const sure = await confirm({
    title: `Drain 1 worker, ${worker.host}?`, action: 'Drain 1 worker', danger: true,
    text: `It takes no new job; ${worker.busy ? `the ${plural(worker.busy, 'job')} it runs may end, then` : ''} it stays up and idle until it is resumed or restarted.`,
    act: () => api.post(`api/admin/workers/${encodeURIComponent(worker.name)}/drain`),
  });
  if (!sure) return;
  done(`Drains 1 worker, ${worker.host}.`);
  refresh();
}

async function resume(worker, refresh) {
  try {
    await api.post(`api/admin/workers/${encodeURIComponent(worker.name)}/resume`);
    done(`Resumed 1 worker, ${worker.host}.`);
  } catch (error) {
    failed(error);
  }
  refresh();
}
