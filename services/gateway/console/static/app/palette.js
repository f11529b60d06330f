// Find: pages and jobs by a few letters, and the list of keys.

import { useState } from 'preact/hooks';
import { html } from './html.js';
import { Icon } from './icons.js';
import { present } from './dialog.js';
import { go } from './router.js';
import { can } from './session.js';
import { visible } from './navigation.js';
import { switchTheme } from './shell.js';

const JOB = /ai-job-\d{13}-[0-9a-z]{9}/;

function commands(typed) {
  const pages = visible().flatMap((group) => group.pages).map((page) => ({
    icon: page.path, name: page.name, key: `g ${page.key}`, run: () => go(page.path),
  }));
  const more = [
    ...(can('jobs:write') ? [{ icon: 'plus', name: 'New job', run: () => go('submit') }] : []),
    { icon: 'failures', name: 'Failed jobs', run: () => go('jobs', { status: 'failed' }) },
    { icon: 'clock', name: 'Waiting jobs', run: () => go('jobs', { status: 'queued' }) },
    { icon: 'moon', name: 'Light or dark', run: switchTheme },
  ];
  const jobId = typed.match(JOB)?.[0];
  const text = typed.trim().toLowerCase();
  const found = [...pages, ...more].filter((one) => one.name.toLowerCase().includes(text));
  return jobId ? [{ icon: 'jobs', name: `Open ${jobId}`, run: () => go(`jobs/${jobId}`) }] : found;
}

function Palette({ end }) {
  const [typed, setTyped] = useState('');
  const [chosen, setChosen] = useState(0);
  const found = commands(typed);
  const run = (one) => { end(); one.run(); };
  const pressed = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      setChosen((chosen + step + found.length) % Math.max(1, found.length));
    } else if (event.key === 'Enter' && found[chosen]) {
      event.preventDefault();
      run(found[chosen]);
    }
  };
  return html`
    <div class="palette">
      <input class="palette-input" autofocus role="combobox" aria-expanded="true" aria-controls="found" aria-autocomplete="list"
        aria-activedescendant=${found[chosen] && `found-${chosen}`} aria-label="Find a page, or paste the id of a job" placeholder="Find a page, or paste the id of a job"
        value=${typed} onInput=${(event) => { setTyped(event.target.value); setChosen(0); }} onKeyDown=${pressed} />
      <div class="menu" id="found" role="listbox" aria-label="Found">
        ${found.map((one, index) => html`
          <button type="button" role="option" id=${`found-${index}`} tabindex="-1" aria-selected=${String(index === chosen)} onClick=${() => run(one)}>
            <${Icon} name=${one.icon} /><span class="truncate" style=${{ flex: 1 }}>${one.name}</span>${one.key && html`<kbd>${one.key}</kbd>`}</button>`)}
      </div>
      ${found.length === 0 && html`<p class="muted" style=${{ padding: '0 20px 20px' }}>Nothing is called so.</p>`}
    </div>`;
}

export const openPalette = () => present((end) => html`<${Palette} end=${end} />`, { label: 'Find', wide: true });

const KEYS = [
  ['Ctrl K', 'find a page or a job'], ['j  k', 'next and previous row'], ['Enter', 'open the row'],
  ['x', 'choose the row'], ['Esc', 'choose none, or close'], ['n', 'new job'], ['?', 'this list'],
];

export function showKeys() {
  const pages = visible().flatMap((group) => group.pages).map((page) => [`g ${page.key}`, page.name.toLowerCase()]);
  present((end) => html`
    <div class="dialog-head"><h2>Keys of the keyboard</h2></div>
    <div class="dialog-body"><dl class="facts">
      ${[...KEYS, ...pages].map(([keys, text]) => html`<dt>${keys.split(' ').filter(Boolean).map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${text}</dd>`)}
    </dl></div>
    <div class="dialog-foot"><button class="button" autofocus onClick=${() => end()}>Close</button></div>`, { label: 'Keys of the keyboard' });
}
