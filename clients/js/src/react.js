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
  const sending = useRef({});

  const send = useCallback(
    async (wanted) => {
      const controller = new AbortController();
      sending.current = { wanted, controller };
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
      sending.current = {};
    },
    [follow, setState, storageKey],
  );

  // After a reload, and when React mounts the component again: a request goes on as the same job.
  useEffect(() => {
    const kept = sending.current.wanted ?? follow.latest() ?? recall(storageKey);
    if (kept?.request) send(kept);
    else if (kept?.jobId) follow(kept);
    return () => sending.current.controller?.abort();
  }, [follow, send, storageKey]);

  // A write for every event would cost more than reading the job from its beginning after a crash.
  useEffect(() => {
    const save = () => follow.latest() && keep(storageKey, follow.latest());
    globalThis.addEventListener?.('pagehide', save);
    return () => globalThis.removeEventListener?.('pagehide', save);
  }, [follow, storageKey]);

  const reset = useCallback(() => {
    sending.current.controller?.abort();
    sending.current = {};
    keep(storageKey, null);
    follow(null);
  }, [follow, storageKey]);
  const generate = useCallback(
    (request) => {
      reset();
      return send({ request, idempotencyKey: follow.client.newKey() });
    },
    [follow, reset, send],
  );

  return { ...view(state, useCancel(state, follow.client)), generate, reset };
}

// The state of the job that is followed, and a function that follows another one (null: none) and returns how to stop. A
// job that was followed before goes on where it was.
function useFollowing(given) {
  const client = given ?? (sameOrigin ??= new Presswork());
  const [state, setState] = useState(IDLE);
  const following = useRef({});
  const follow = useMemo(() => {
    const begin = (from) => {
      const { controller: before, progress: kept } = following.current;
      before?.abort();
      const start = from && kept?.jobId === (from.jobId ?? from) ? kept : from;
      const controller = new AbortController();
      following.current = { controller, progress: start?.jobId ? start : null };
      setState({ ...IDLE, progress: following.current.progress });
      if (start) read(client, start, controller.signal, setState, following.current);
      return () => controller.abort();
    };
    return Object.assign(begin, { client, latest: () => following.current.progress });
  }, [client]);
  useEffect(() => () => following.current.controller?.abort(), [follow]);
  return [state, follow, setState];
}

async function read(client, from, signal, setState, into) {
  try {
    for await (const progress of client.job(from).progress({ signal })) {
      if (signal.aborted) return;
      into.progress = progress;
      setState({ ...IDLE, progress });
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
