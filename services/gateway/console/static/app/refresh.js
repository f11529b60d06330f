// Readings that repeat while the page is looked at, and rest in a hidden tab.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { api } from './api.js';
import { can, everyMs, session } from './session.js';

const LONGEST_MS = 60000;

// Where every command of Redis is billed, a page is read again only after the counts of the queue changed: those the
// gateway keeps. Null: they are not this key's to read.
async function countsNow(signal) {
  if (!can('stats:read')) return null;
  return JSON.stringify((await api.get('api/ai/queue-stats', {}, signal)).stats);
}

// Calls `read(signal)` at once, after each change of `inputs`, and every `every` ms; 0: once. `eager`: at that pace
// wherever it is: what the gateway keeps, or what is under way.
// Answers { value, error, loading, refresh }; a value stays while a later reading fails.
export function useReading(read, inputs, { every = everyMs(), eager = false } = {}) {
  const [state, setState] = useState({ value: undefined, error: null, loading: true });
  const held = useRef({});
  held.current.read = read;

  const run = useCallback(async (repeated) => {
    const mine = held.current;
    clearTimeout(mine.timer);
    mine.abort?.abort();
    const abort = mine.abort = new AbortController();
    let pause = mine.every;
    try {
      const counts = mine.every && session.value?.payPerCommand && !mine.eager ? await countsNow(abort.signal) : undefined;
      const same = repeated === true && counts !== undefined && counts === mine.counts && !mine.failures;
      if (!same) {
        const value = await mine.read(abort.signal);
        if (abort.signal.aborted) return;
        setState({ value, error: null, loading: false });
      }
      mine.counts = counts;
      mine.failures = 0;
    } catch (error) {
      if (abort.signal.aborted) return;
      mine.failures = (mine.failures || 0) + 1;
      pause = Math.min(LONGEST_MS, Math.max(mine.every || 5000, error.retryAfterMs || 0) * 2 ** (mine.failures - 1));
      setState((before) => ({ ...before, error, loading: false }));
      if (error.status === 401 || error.status === 403 || error.status === 404) pause = 0;
    }
    mine.readAt = Date.now();
    if (pause && !document.hidden) mine.timer = setTimeout(() => run(true), pause);
    mine.pause = pause;
  }, []);

  useEffect(() => {
    const mine = held.current;
    mine.every = every && session.value?.payPerCommand && !eager ? Math.max(every, everyMs()) : every;
    mine.eager = eager;
    setState((before) => ({ ...before, loading: true }));
    run();
    const seen = () => {
      clearTimeout(mine.timer);
      if (document.hidden || !mine.pause) return;
      mine.timer = setTimeout(() => run(true), Math.max(0, mine.readAt + mine.pause - Date.now()));
    };
    document.addEventListener('visibilitychange', seen);
    return () => {
      document.removeEventListener('visibilitychange', seen);
      clearTimeout(mine.timer);
      mine.abort?.abort();
    };
  }, [...inputs, every]);

  return { ...state, refresh: () => run() };
}

// Renders again every `ms`, for times that pass, while the page is looked at.
export function useClock(ms = 1000) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => { if (!document.hidden) tick((count) => count + 1); }, ms);
    return () => clearInterval(timer);
  }, [ms]);
}
