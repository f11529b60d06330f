// The frame around every page: navigation, the caller, and the page itself.

import { signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { html, classes } from './html.js';
import { BASE } from './api.js';
import { Icon, Logo } from './icons.js';
import { Empty } from './parts.js';
import { caller, isOperator, session, signOut } from './session.js';
import { find, visible } from './navigation.js';
import { go, href, route } from './router.js';
import { useKeys } from './keyboard.js';
import { openPalette, showKeys } from './palette.js';

const drawer = signal(false);
const theme = signal(document.documentElement.dataset.theme ?? '');
const isDark = () => (theme.value ? theme.value === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches);

export function switchTheme() {
  theme.value = isDark() ? 'light' : 'dark';
  document.documentElement.dataset.theme = theme.value;
  try {
    localStorage.setItem('presswork.theme', theme.value);
  } catch {
    // Storage may be off: the choice lasts as long as the page.
  }
}

export function Shell() {
  const page = find(route.value.parts);
  useEffect(() => { drawer.value = false; }, [route.value]);
  useLeader();
  useEffect(() => {
    const pressed = (event) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === 'k') {
        event.preventDefault();
        openPalette();
      }
    };
    document.addEventListener('keydown', pressed);
    return () => document.removeEventListener('keydown', pressed);
  }, []);
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById('main').focus(); }}>Skip to the page</a>
    <div class="frame">
      <header class="topbar">
        <button class="button quiet icon" aria-label="Open the menu" aria-expanded=${String(drawer.value)} onClick=${() => { drawer.value = true; }}><${Icon} name="menu" /></button>
        <div class="brand"><${Logo} />Presswork</div>
        <button class="button quiet icon" aria-label="Find" onClick=${openPalette}><${Icon} name="search" /></button>
      </header>
      ${drawer.value && html`<button class="veil" aria-label="Close the menu" onClick=${() => { drawer.value = false; }}></button>`}
      <${Sidebar} current=${page} />
      <main class="main" id="main" tabindex="-1"><${Page} page=${page} /></main>
    </div>`;
}

function Sidebar({ current }) {
  return html`
    <aside class=${classes('sidebar', drawer.value && 'open')} aria-label="Menu">
      <div class="brand"><${Logo} />Presswork</div>
      <nav aria-label="Pages">
        <div class="nav-group">
          <a class="nav-item" role="button" href="#find" onClick=${(event) => { event.preventDefault(); openPalette(); }}><${Icon} name="search" />Find<span class="nav-key"><kbd>${navigator.platform?.startsWith('Mac') ? '⌘' : 'Ctrl'} K</kbd></span></a>
        </div>
        ${visible().map((group) => html`
          <div class="nav-group">
            <div class="nav-title">${group.title}</div>
            ${group.pages.map((page) => html`
              <a class="nav-item" href=${href(page.path)} aria-current=${current?.path === page.path ? 'page' : undefined}>
                <${Icon} name=${page.path} />${page.name}</a>`)}
          </div>`)}
        <div class="nav-group">
          <a class="nav-item" href=${`${BASE}docs`} target="_blank" rel="noopener"><${Icon} name="document" />API reference</a>
        </div>
      </nav>
      <div class="sidebar-foot"><${Who} /></div>
    </aside>`;
}

function Who() {
  const one = caller.value;
  const name = one.organizationId ?? (session.value.keys ? 'Operator' : 'This machine');
  const key = one.keyId ? `Key pw_${one.keyId}` : session.value.keys ? one.name.replace(/^token:/, 'Token ') : 'No keys are asked for';
  return html`
    <div class="who">
      <div class="avatar" aria-hidden="true">${name.slice(0, 2)}</div>
      <div class="who-text"><div class="truncate">${name}</div><div class="truncate faint" title=${key}>${key}</div></div>
    </div>
    <div class="foot-actions">
      <button class="button quiet icon small" title="Light or dark" aria-label=${isDark() ? 'Use light colours' : 'Use dark colours'} onClick=${switchTheme}><${Icon} name=${isDark() ? 'sun' : 'moon'} /></button>
      <button class="button quiet icon small" title="Keys of the keyboard" aria-label="Show the keys of the keyboard" onClick=${showKeys}><span aria-hidden="true">?</span></button>
      ${session.value.keys && html`<button class="button quiet small" style=${{ marginLeft: 'auto' }} onClick=${signOut}><${Icon} name="out" />Sign out</button>`}
    </div>`;
}

function Page({ page }) {
  const [shown, setShown] = useState({ page: null, View: null, error: null });
  useEffect(() => {
    let gone = false;
    if (page) {
      page.load().then(
        (module) => { if (!gone) setShown({ page, View: module.default, error: null }); },
        (error) => { if (!gone) setShown({ page, View: null, error }); },
      );
    }
    return () => { gone = true; };
  }, [page]);
  useEffect(() => { document.title = page ? `${page.name} · Presswork` : 'Presswork'; }, [page]);

  if (!page) return html`<${Empty} icon="search" title="There is no such page">Choose one from the menu.<//>`;
  if (page.may && !page.may()) {
    return html`<${Empty} icon="shield" title="This key may not see this">${isOperator.value ? 'It lacks the scope that this page needs.' : 'It is for operators, or needs a scope that this key lacks.'}<//>`;
  }
  if (shown.error) {
    return html`<${Empty} icon="failures" title="The page could not be loaded">The gateway may have been updated.
      <br /><button class="button" onClick=${() => location.reload()}>Load again</button><//>`;
  }
  if (shown.page !== page) return html`<div class="page" aria-busy="true"></div>`;
  return html`<${shown.View} key=${`${page.path}/${route.value.parts[1] ?? ''}`} parts=${route.value.parts} query=${route.value.query} />`;
}

// `g`, then the letter of a page.
function useLeader() {
  const [waiting, setWaiting] = useState(false);
  useEffect(() => {
    if (!waiting) return undefined;
    const timer = setTimeout(() => setWaiting(false), 1200);
    return () => clearTimeout(timer);
  }, [waiting]);
  const letters = Object.fromEntries(visible().flatMap((group) => group.pages).map((page) => [page.key, () => {
    if (!waiting) return false;
    setWaiting(false);
    go(page.path);
    return true;
  }]));
  const start = letters.g;
  useKeys({ ...letters, g: () => ((waiting && start) ? start() : setWaiting(true)), '?': showKeys });
}
