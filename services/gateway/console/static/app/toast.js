// Short messages at the corner: what an action did.

import { signal } from '@preact/signals';
import { html } from './html.js';
import { Icon } from './icons.js';

const SECONDS = { green: 6, red: 14, gray: 6 };
const shown = signal([]);
let last = 0;

const drop = (id) => { shown.value = shown.value.filter((one) => one.id !== id); };

function show(kind, text, link) {
  const id = ++last;
  shown.value = [...shown.value.slice(-3), { id, kind, text, link }];
  setTimeout(() => drop(id), SECONDS[kind] * 1000);
}

export const done = (text, link) => show('green', text, link);
export const failed = (error) => show('red', typeof error === 'string' ? error : error.message);

export const Toasts = () => html`
  <div class="toasts" role="status" aria-live="polite">
    ${shown.value.map((one) => html`
      <div class=${`toast ${one.kind}`} key=${one.id}>
        <${Icon} name=${one.kind === 'red' ? 'failures' : 'check'} />
        <div>${one.text} ${one.link && html`<a class="link" href=${one.link.href}>${one.link.text}</a>`}</div>
        <button class="button quiet icon small" aria-label="Close this message" onClick=${() => drop(one.id)}><${Icon} name="cross" /></button>
      </div>`)}
  </div>`;
