// Keys that act wherever the focus is, but for fields.

import { useEffect, useRef } from 'preact/hooks';

const isField = (element) => element?.matches?.('input:not([type=checkbox]), textarea, select, [contenteditable]');

// `keys`: functions by key, as in { j: next, '/': search }. A function that returns false lets the key pass.
export function useKeys(keys) {
  const held = useRef(keys);
  held.current = keys;
  useEffect(() => {
    const pressed = (event) => {
      if (event.metaKey || event.ctrlKey || event.altKey || isField(event.target)) return;
      if (document.querySelector('dialog[open]')) return;
      const act = held.current[event.key];
      if (act && act(event) !== false) event.preventDefault();
    };
    document.addEventListener('keydown', pressed);
    return () => document.removeEventListener('keydown', pressed);
  }, []);
}
