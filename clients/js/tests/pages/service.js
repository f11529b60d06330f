// The services of a page under test, and its settings: `config.js` and the address name them.

import { StrictMode, useEffect } from 'react';
import { Presswork } from '../../src/index.js';

const { api, events, defaults } = window.PRESSWORK;
export const client = new Presswork({ baseUrl: api, eventsBaseUrl: events, defaults });
export const address = api;
export const fields = defaults;

const search = new URLSearchParams(location.search);
export const bare = search.has('bare');
export const Mode = search.has('strict') ? StrictMode : ({ children }) => children;

// Every text that the page ever showed, and whether its component is mounted for good: StrictMode's first mount ends with
// the effects of it.
window.texts = [];
export function useNotes(text) {
  useEffect(() => {
    window.mounted = true;
    if (text !== window.texts.at(-1)) window.texts.push(text);
  }, [text]);
}
