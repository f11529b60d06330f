// Filter chips: each is one field of the address.

import { useEffect, useRef, useState } from 'preact/hooks';
import { html, classes } from './html.js';
import { Icon } from './icons.js';
import { change } from './router.js';

// Closes a popover on Escape, and on a click elsewhere.
export function useDismiss(isOpen, dismiss) {
  const element = useRef();
  useEffect(() => {
    if (!isOpen) return undefined;
    const outside = (event) => { if (!element.current?.contains(event.target)) dismiss(); };
    const escape = (event) => {
      if (event.key !== 'Escape') return;
      event.stopPropagation();
      dismiss();
      element.current?.querySelector('button')?.focus();
    };
    document.addEventListener('pointerdown', outside);
    document.addEventListener('keydown', escape, true);
    return () => {
      document.removeEventListener('pointerdown', outside);
      document.removeEventListener('keydown', escape, true);
    };
  }, [isOpen]);
  return element;
}

// `choices`: known values; another one can be typed.
export function Chip({ name, label, value, choices = [], required = false }) {
  const [open, setOpen] = useState(false);
  const [typed, setTyped] = useState('');
  const element = useDismiss(open, () => setOpen(false));
  const input = useRef();
  useEffect(() => { if (open) { setTyped(''); input.current?.focus(); } }, [open]);

  const choose = (text) => {
    change({ [name]: text });
    setOpen(false);
  };
  const found = choices.filter((choice) => choice.toLowerCase().includes(typed.toLowerCase())).slice(0, 50);
  return html`
    <div class="popover" ref=${element}>
      <span class=${classes('chip', value ? 'on' : 'dashed')}>
        <button type="button" aria-expanded=${String(open)} onClick=${() => setOpen(!open)}>
          ${value ? html`<span>${label}</span> <b class="truncate">${value}</b>` : html`<${Icon} name="plus" size="12" />${label}`}
        </button>
        ${value && !required && html`<button type="button" class="drop" aria-label=${`Remove the filter ${label}`} onClick=${() => choose(undefined)}><${Icon} name="cross" size="12" /></button>`}
      </span>
      ${open && html`
        <div class="popover-box">
          <form onSubmit=${(event) => { event.preventDefault(); const text = typed.trim(); if (text) choose(text); }}>
            <input class="input" ref=${input} value=${typed} aria-label=${label} placeholder=${`${label} is…`} spellcheck="false" autocomplete="off"
              onInput=${(event) => setTyped(event.target.value)} />
          </form>
          ${found.length > 0 && html`<div class="menu">${found.map((choice) => html`
            <button type="button" onClick=${() => choose(choice)}><span class="truncate">${choice}</span>${choice === value && html`<${Icon} name="check" size="14" />`}</button>`)}</div>`}
        </div>`}
    </div>`;
}
