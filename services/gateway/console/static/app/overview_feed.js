// What the overview shows: for operators the gateway's stream, where there is one; else asked for again and again.

import { useEffect, useState } from 'preact/hooks';
import { address, api } from './api.js';
import { useReading } from './refresh.js';
import { can, isOperator, session } from './session.js';

// Answers a reading of { stats, timestamp, ... }; `received(value)` is called with each.
export function useOverview(received) {
  const mayWatch = isOperator.value && can('admin');
  const [follows, setFollows] = useState(mayWatch && session.value.overviewEvents);
  const streamed = useStream(follows, { received, ended: () => setFollows(false) });
  const asked = useReading(async (signal) => {
    if (follows) return undefined;
    const value = await api.get(mayWatch ? 'api/admin/overview' : 'api/ai/queue-stats', {}, signal);
    received(value);
    return value;
  }, [follows], { every: follows ? 0 : undefined, eager: true });
  return follows || !asked.value ? { ...asked, ...streamed, error: streamed.error ?? asked.error } : asked;
}

// The stream while the page is looked at. `ended`: it is refused, and is not tried again.
function useStream(on, { received, ended }) {
  const [state, setState] = useState({ value: undefined, error: null, loading: true });
  useEffect(() => {
    if (!on) return undefined;
    let source = null;
    const open = () => {
      source = new EventSource(address('api/admin/overview/events'));
      source.addEventListener('overview', (event) => {
        const value = JSON.parse(event.data);
        received(value);
        setState({ value, error: null, loading: false });
      });
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) ended();
        else setState((before) => ({ ...before, error: new Error('The gateway cannot be reached; trying again') }));
      };
    };
    const looked = () => {
      if (document.hidden) {
        source?.close();
        source = null;
      } else if (!source) open();
    };
    looked();
    document.addEventListener('visibilitychange', looked);
    return () => {
      document.removeEventListener('visibilitychange', looked);
      source?.close();
    };
  }, [on]);
  return state;
}
