'use client';

import { useGenerate } from '@presswork/client/react';

export function Writer() {
  const { generate, cancel, text, status, busy, error } = useGenerate({ storageKey: 'writer' });

  function write(event) {
    event.preventDefault();
    const { prompt, ...parameters } = Object.fromEntries(new FormData(event.target));
    generate({ prompt, parameters });
  }

  return (
    <form onSubmit={write}>
      <textarea
        name="prompt"
        aria-label="Prompt"
        required
        defaultValue="Create a social media post about our new product"
      />
      <select name="platform" aria-label="Platform">
        <option>linkedin</option>
        <option>x</option>
        <option>email</option>
      </select>
      <button disabled={busy}>Write</button>
      <button type="button" disabled={!busy} onClick={cancel}>
        Cancel
      </button>
      <p role="status">{status}</p>
      <p id="text" style={{ whiteSpace: 'pre-wrap' }}>
        {text}
      </p>
      {error && <p role="alert">{error.message}</p>}
    </form>
  );
}
