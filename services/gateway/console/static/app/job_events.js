// The events of a job, over its stream on this origin: its text, and what happened to it.

import { useEffect, useState } from 'preact/hooks';
import { address, api } from './api.js';
import { session } from './session.js';

const KINDS = ['queued', 'processing', 'delta', 'retrying', 'completed', 'failed', 'cancelled', 'gap'];
const ENDS = new Set(['completed', 'failed', 'cancelled']);
const TEXT_MAX = 400000;

// Answers { steps, text, ended, connected, lost }. `steps`: the events that are no text. `lost`: earlier ones are not kept.
export function useJobEvents(jobId, { allowed, onStep }) {
  const [state, setState] = useState({ steps: [], text: '', ended: false, connected: false, lost: false });
  useEffect(() => {
    if (!allowed) return undefined;
    let pending = { steps: [], text: '', ended: false, connected: false, lost: false };
    let frame = 0;
    const draw = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        setState({ ...pending });
      });
    };
    let source = null;
    let gone = false;
    const received = (event) => {
      const data = JSON.parse(event.data);
      pending = step(pending, event.type, data);
      if (event.type !== 'delta') onStep?.();
      if (pending.ended) source.close();
      draw();
    };
    const open = async () => {
      const ticket = await ticketFor(jobId).catch(() => null);
      if (gone || ticket === null) return;
      source = new EventSource(address('api/ai/job-events', { jobId, ticket }));
      for (const kind of KINDS) source.addEventListener(kind, received);
      source.onopen = () => { pending = { ...pending, connected: true }; draw(); };
      source.onerror = () => { pending = { ...pending, connected: false }; draw(); };
    };
    open();
    return () => {
      gone = true;
      source?.close();
      cancelAnimationFrame(frame);
    };
  }, [jobId]);
  return state;
}

// A proxy may send streams to a notifier, which knows tickets and no sessions. Empty where no key is asked for.
async function ticketFor(jobId) {
  return session.value.keys ? (await api.post('api/ai/event-tickets', { jobId })).ticket : '';
}

function step(state, kind, data) {
  if (kind === 'delta') return { ...state, text: (state.text + data.text).slice(0, TEXT_MAX) };
  if (kind === 'gap') return { ...state, lost: true, text: data.text ?? state.text, ended: data.status === 'gone' };
  const text = kind === 'processing' ? '' : state.text;
  return { ...state, text, ended: ENDS.has(kind), steps: [...state.steps, { kind, ...data }] };
}
