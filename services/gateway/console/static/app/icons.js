// Icons of 16 pixels, drawn with one stroke.

import { html } from './html.js';

const PATHS = {
  overview: 'M2 9h2.5l2-6 3 10.5 2-4.5H14',
  jobs: 'M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.01M2.5 8h.01M2.5 12h.01',
  failures: 'M8 6v3M8 11.5h.01M7 2.7 1.6 12a1.2 1.2 0 0 0 1 1.8h10.8a1.2 1.2 0 0 0 1-1.8L9 2.7a1.2 1.2 0 0 0-2 0Z',
  gates: 'M3 14V5a5 5 0 0 1 10 0v9M1.5 14h13M8 14V7M5.5 14V8M10.5 14V8',
  workers: 'M4.5 4.5h7v7h-7zM6.5 1.5v3M9.5 1.5v3M6.5 11.5v3M9.5 11.5v3M1.5 6.5h3M1.5 9.5h3M11.5 6.5h3M11.5 9.5h3',
  organizations: 'M2.5 14V3.5l6-1.5v12M8.5 6l5 1.5V14M1 14h14M5 6h1M5 9h1M11 9.5h.5',
  usage: 'M2.5 13.5v-4M6.2 13.5v-8M9.8 13.5v-6M13.5 13.5v-11',
  keys: 'M10.5 9.5a4 4 0 1 0-3.6-2.2L2 12.2V14h2.5v-1.7H6v-1.6h1.5l1-1a4 4 0 0 0 2-.2ZM11 5h.01',
  audit: 'M4 2h6l3 3v9H4zM10 2v3h3M6.5 8h4M6.5 11h4',
  search: 'M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM10.7 10.7 14 14',
  plus: 'M8 3v10M3 8h10',
  copy: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3',
  check: 'm3 8.5 3.2 3L13 4.5',
  cross: 'm4 4 8 8M12 4l-8 8',
  refresh: 'M13.5 8A5.5 5.5 0 1 1 11.7 4M13.5 2v3h-3',
  moon: 'M13.5 9.3A5.8 5.8 0 0 1 6.7 2.5a5.8 5.8 0 1 0 6.8 6.8Z',
  sun: 'M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1',
  menu: 'M2.5 4.5h11M2.5 8h11M2.5 11.5h11',
  down: 'm4.5 6.5 3.5 3.5 3.5-3.5',
  right: 'm6.5 4.5 3.5 3.5-3.5 3.5',
  pause: 'M5.5 3.5v9M10.5 3.5v9',
  play: 'M5 3.5v9l7-4.5z',
  out: 'M6 2.5H3v11h3M10.5 11 13.5 8l-3-3M13.5 8H6',
  clock: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 5v3.2l2 1.3',
  retry: 'M2.5 8A5.5 5.5 0 1 0 4.3 4M2.5 2v3h3',
  download: 'M8 2.5v8M4.5 7.5 8 11l3.5-3.5M2.5 13.5h11',
  pen: 'M3 13h2.2l7.6-7.6-2.2-2.2L3 10.8zM9.2 4.6l2.2 2.2',
  trash: 'M2.5 4.5h11M6 4.5v-2h4v2M4 4.5l.6 9h6.8l.6-9',
  settings: 'M2.5 5h6M12 5h1.5M2.5 11H4M7.5 11h6M10.2 6.7a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4ZM5.8 12.7a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4Z',
  rotate: 'M13 6.5A5.3 5.3 0 0 0 3.4 5.2M3 9.5a5.3 5.3 0 0 0 9.6 1.3M3 2v3.3h3.3M13 14v-3.3H9.7',
  document: 'M4 2h5.5L12.5 5v9H4zM6.5 7.5h3.5M6.5 10.5h3.5',
  shield: 'M8 1.8 13 3.6v4.2c0 3-2.1 5.3-5 6.4-2.9-1.1-5-3.4-5-6.4V3.6Z',
};

export const Icon = ({ name, size = 16 }) => html`
  <svg width=${size} height=${size} viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5"
    stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;

export const Logo = () => html`
  <svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" fill="#5b5bd6" />
    <path d="M10 23V9h7.2a4.9 4.9 0 0 1 0 9.8H13" fill="none" stroke="#fff" stroke-width="3"
      stroke-linecap="round" stroke-linejoin="round" /></svg>`;
