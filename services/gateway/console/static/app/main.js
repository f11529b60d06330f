// The console: signs in, then shows its pages.

import { render } from 'preact';
import '@preact/signals';
import { html } from './html.js';
import { Dialogs } from './dialog.js';
import { Toasts } from './toast.js';
import { Icon } from './icons.js';
import { Empty } from './parts.js';
import { Shell } from './shell.js';
import { SignIn } from './pages/sign_in.js';
import { load, session, unreachable } from './session.js';

function App() {
  if (session.value === null) {
    return unreachable.value && html`
      <main><${Empty} icon="failures" title="The gateway cannot be asked">${unreachable.value.message}
        <br /><button class="button" onClick=${load}><${Icon} name="refresh" />Try again</button><//></main>`;
  }
  return html`
    ${session.value.caller ? html`<${Shell} />` : html`<${SignIn} />`}
    <${Dialogs} /><${Toasts} />`;
}

await load();
render(html`<${App} />`, document.getElementById('root'));
