'use client';

// React hooks. They follow a job while their component is mounted, and go on where it was after a reload.

import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { Presswork } from './client.js';

const IDLE = { progress: null, error: null, submitting: false };
let sameOrigin;

// A job that is there already, by its id or by the progress of an earlier reader; null: none.
export function useJob(from, { client } = {}) {
  const [state, follow] = useFollowing(client);
  const id = typeof from === 'string' ? from : from?.jobId;
  useEffect(() => follow(id ? from : null), [id, follow]);
  return view(state, useCancel(state, follow.client));
}

// Submits and follows. `storageKey`: keeps the job, or a request that was not answered yet, in this tab over a reload.
export function useGenerate({ client, storageKey } = {}) {
  const [state, follow, setState] = useFollowing(client);
  const sending = useRef(null);

  const send = useCallback(
    async (wanted) => {
      const controller = (sending.current = new AbortController());
      setState({ ...IDLE, submitting: true });
      keep(storageKey, wanted);
      try {
        const { request, idempotencyKey } = wanted;
        const job = await follow.client.submit(request, { idempotencyKey, signal: controller.signal });
        keep(storageKey, job.from);
        follow(job.from);
      } catch (error) {
        if (controller.signal.aborted) return;
        keep(storageKey, null);
        setState({ ...IDLE, error });
      }
    },
    [follow, setState, storageKey],
  );

  useEffect(() => {
    const kept = recall(storageKey);
    if (kept?.jobId) follow(kept);
    else if (kept?.request) send(kept);
    return () => sending.current?.abort();
  }, [follow, send, storageKey]);

  // A write for every event would cost more than reading the job anew after a crash.
  const latest = useRef(null);
  latest.current = state.progress;
  useEffect(() => {
    const save = () => latest.current && keep(storageKey, latest.current);
    globalThis.addEventListener?.('pagehide', save);
    return () => globalThis.removeEventListener?.('pagehide', save);
  }, [storageKey]);

  const generate = useCallback(
    (request) => {
      sending.current?.abort();
      follow(null);
      return send({ request, idempotencyKey: follow.client.newKey() });
    },
    [follow, send],
  );
  const reset = useCallback(() => {
    sending.current?.abort();
    keep(storageKey, null);
    follow(null);
  }, [follow, storageKey]);

  return { ...view(state, useCancel(state, follow.client)), generate, reset };
}

// The state of the job that is followed, and a function that follows another one (null: none) and returns how to stop.
function useFollowing(given) {
  const client = given ?? (sameOrigin ??= new Presswork());
  const [state, setState] = useState(IDLE);
  const following = useRef(null);
  const follow = useMemo(() => {
    const begin = (from) => {
      following.current?.abort();
      const controller = (following.current = new AbortController());
      setState(IDLE);
      if (from) read(client, from, controller.signal, setState);
      return () => controller.abort();
    };
    return Object.assign(begin, { client });
  }, [client]);
  useEffect(() => () => following.current?.abort(), [follow]);
  return [state, follow, setState];
}

async function read(client, from, signal, setState) {
  try {
    for await (const progress of client.job(from).progress({ signal })) {
      if (!signal.aborted) setState({ ...IDLE, progress });
    }
  } catch (error) {
    if (!signal.aborted) setState((state) => ({ ...state, error }));
  }
}

function useCancel({ progress }, client) {
  const id = progress?.jobId;
  return useCallback(() => (id ? client.cancel(id) : Promise.resolve(false)), [id, client]);
}

function view({ progress, error, submitting }, cancel) {
  const status = progress?.status ?? (submitting ? 'submitting' : 'idle');
  const { jobId, text = '', attempt, note, end } = progress ?? {};
  const busy = ['submitting', 'queued', 'processing'].includes(status) && !error;
  return { status, busy, jobId, text, attempt, note, end, error: error ?? end?.error ?? null, progress, cancel };
}

function keep(name, value) {
  if (!name) return;
  try {
    if (value) sessionStorage.setItem(name, JSON.stringify(value));
    else sessionStorage.removeItem(name);
  } catch {
    // Full or forbidden: then a reload forgets it.
  }
}

function recall(name) {
  try {
    return name ? JSON.parse(sessionStorage.getItem(name)) : null;
  } catch {
    return null;
  }
}
