// Dialogs: one at a time, with the browser's own element, which keeps the focus inside.

import { signal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { html } from './html.js';
import { failed } from './toast.js';

const open = signal(null);

// Shows `view(close)`; resolves with the value that was given to `close`, undefined when it was dismissed. A dialog
// closes itself alone: what it waited for may end when the next one is open.
export function present(view, { label, wide = false, className = '' } = {}) {
  open.value?.close(undefined);
  return new Promise((resolve) => {
    const dialog = { view, label, wide, className };
    dialog.close = (value) => {
      if (open.value === dialog) open.value = null;
      resolve(value);
    };
    open.value = dialog;
  });
}

// Asks before an action and says what it is about to do. Resolves to whether it was confirmed.
// `act`: runs while the dialog is still there; an error keeps it open.
export function confirm({ title, text, action, danger = false, act, body }) {
  return present((end) => html`<${Question} ...${{ title, text, action, danger, act, body, end }} />`, { label: title });
}

function Question({ title, text, action, danger, act, body, end }) {
  const [busy, setBusy] = useState(false);
  const go = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await act?.();
      end(true);
    } catch (error) {
      failed(error);
      setBusy(false);
    }
  };
  return html`
    <form onSubmit=${go}>
      <div class="dialog-head"><h2 id="dialog-title">${title}</h2></div>
      <div class="dialog-body"><p class="muted">${text}</p>${body}</div>
      <div class="dialog-foot">
        <button type="button" class="button" onClick=${() => end(false)}>Keep as it is</button>
        <button class=${`button primary ${danger ? 'danger' : ''}`} disabled=${busy} autofocus>${busy ? 'One moment…' : action}</button>
      </div>
    </form>`;
}

export function Dialogs() {
  const element = useRef();
  const displayed = useRef();
  const shown = open.value;
  useEffect(() => {
    const dialog = element.current;
    displayed.current = shown;
    if (shown && !dialog.open) {
      dialog.showModal();
      dialog.querySelector('[autofocus]')?.focus();
    }
    if (!shown && dialog.open) dialog.close();
  }, [shown]);
  // The event of a dialog that was closed may come when the next one is open already: it must not close that too.
  const closed = () => { if (!element.current.open && shown === displayed.current) shown?.close(undefined); };
  return html`
    <dialog ref=${element} class=${`${shown?.wide ? 'wide' : ''} ${shown?.className ?? ''}`} aria-label=${shown?.label}
      onClose=${closed} onClick=${(event) => { if (event.target === element.current) shown?.close(undefined); }}>
      ${shown && shown.view(shown.close)}
    </dialog>`;
}
