// The place in the console, kept in the part of the address after `#`: it works below any path, and no server log has it.

import { signal } from '@preact/signals';

function read() {
  const [path, search = ''] = location.hash.replace(/^#/, '').split('?');
  const parts = path.split('/').filter(Boolean).map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { parts, query: Object.fromEntries(new URLSearchParams(search)) };
}

export const route = signal(read());
window.addEventListener('hashchange', () => { route.value = read(); });

export function href(path, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') search.set(name, value);
  }
  const text = search.toString();
  return `#/${path}${text ? `?${text}` : ''}`;
}

export function go(path, query) {
  location.hash = href(path, query);
}

// Changes the query of this place without a new entry in the history.
export function change(query) {
  const next = { ...route.value.query, ...query };
  history.replaceState(history.state, '', href(route.value.parts.map(encodeURIComponent).join('/'), next));
  route.value = read();
}
