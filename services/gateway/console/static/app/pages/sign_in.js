// Signs in with a key, which is exchanged for a cookie and kept nowhere.

import { useState } from 'preact/hooks';
import { html } from '../html.js';
import { Logo } from '../icons.js';
import { Field, Notice } from '../parts.js';
import { signIn } from '../session.js';

const said = (error) => ({
  401: 'This key is not known, or it has ended.',
  429: 'Too many wrong keys came from this address. Wait a minute.',
}[error.status] ?? error.message);

export function SignIn() {
  const [key, setKey] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError('');
    try {
      await signIn(key.trim());
    } catch (refused) {
      setError(said(refused));
      setBusy(false);
    }
  };
  return html`
    <main class="sign-in">
      <div class="sign-in-card">
        <div class="brand"><${Logo} />Presswork</div>
        <h1>Sign in</h1>
        <p class="muted">With an API key. An organisation's key shows that organisation and nothing else.</p>
        ${!window.isSecureContext && html`<div style=${{ marginTop: '18px' }}><${Notice} kind="amber" title="This page is not protected">Browsers keep sessions apart only over HTTPS, or on the machine itself. Open the console there.<//></div>`}
        <form onSubmit=${submit}>
          <${Field} id="key" label="API key" bad=${error}>
            <input class="input mono" id="key" name="key" type="password" autocomplete="off" spellcheck="false" autofocus required placeholder="pw_…"
              aria-invalid=${String(Boolean(error))} aria-describedby=${error ? 'key-note' : undefined}
              value=${key} onInput=${(event) => setKey(event.target.value)} />
          <//>
          <button class="button primary" disabled=${busy || !key.trim()}>${busy ? 'Signing in…' : 'Sign in'}</button>
        </form>
        <p class="sign-in-foot">The key is exchanged for a session of twelve hours and is stored nowhere. It is checked with every call, so a revoked key ends the session.</p>
      </div>
    </main>`;
}
