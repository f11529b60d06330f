// Follows a job to its end: over its event stream while that works, by polling while it does not.

import { PressworkError, problemOf } from './errors.js';
import { backOff, pause, retryAfter, timeLimit } from './pauses.js';
import { advance, ended, update } from './progress.js';
import { messages } from './sse.js';

// Connections in a row without an event after which it polls.
const PATIENCE = 2;

// Polls between two tries of a stream, and the seconds after which one is answered at the latest (earlier when the job
// ends): few and short at first, for the service may just be restarting.
const EARLY = { rounds: 5, polls: 1, wait: 5 };
const LATE = { polls: 3, wait: 20 };

// Milliseconds to the first byte, which the service sends at once: a proxy that holds it back holds back the rest.
const FIRST_MS = 10_000;

// Milliseconds of silence; the service sends at least a comment every 15 s.
const SILENT_MS = 45_000;

// Answers in a row by which a job counts as unknown: a replica of the database may not have a new one yet.
const UNKNOWN = 3;

// Yields `[event, progress]` until the job has ended. Throws the signal's reason, or a PressworkError when neither
// streams nor polls are allowed, or the job is not there.
export async function* follow(client, from, signal) {
  const reader = new Reader(client, from, signal);
  while (!ended(reader.progress)) {
    signal?.throwIfAborted();
    yield* reader.streams ? reader.stream() : reader.poll();
    if (!ended(reader.progress)) await pause(reader.pauseMs, signal);
  }
}

class Reader {
  // Connections in a row without an event; times that it changed to polls since the last event, and polls of the last
  // time; answers in a row by which the job is unknown.
  #failures = 0;
  #rounds = 0;
  #polls = 0;
  #unknown = 0;
  // The problem by which streams are refused.
  #refused = null;

  constructor(client, progress, signal) {
    this.client = client;
    this.progress = progress;
    this.signal = signal;
    this.pauseMs = 0;
  }

  get streams() {
    return this.#failures < PATIENCE && !this.#refused;
  }

  // One connection.
  async *stream() {
    this.pauseMs = backOff(++this.#failures, 500);
    const limit = timeLimit(FIRST_MS, this.signal);
    try {
      const answer = await this.#open(limit.signal);
      if (answer.status !== 200 || !answer.headers.get('content-type')?.startsWith('text/event-stream')) {
        return await this.#decline(answer);
      }
      yield* this.#read(answer, limit);
    } catch (error) {
      this.signal?.throwIfAborted();
      if (error instanceof PressworkError) throw error;
    } finally {
      limit.end();
    }
  }

  async #open(signal) {
    const url = this.client.eventsOf(this.progress);
    return this.client.fetch(url, {
      headers: await this.client.headersFor(url, 'text/event-stream'),
      signal,
      cache: 'no-store',
    });
  }

  async *#read(answer, limit) {
    let asked;
    for await (const { event, data, id, retry } of messages(watched(answer.body, () => limit.allow(SILENT_MS)))) {
      asked = retry;
      if (data === undefined) continue;
      this.#failures = this.#rounds = this.#polls = 0;
      yield* this.#take(event, JSON.parse(data), id);
      if (ended(this.progress)) return;
    }
    // It was closed, not cut: the service says when to come back.
    if (asked !== undefined) this.pauseMs = asked * (1 + Math.random() / 4);
  }

  *#take(kind, data, id) {
    if (kind === 'gap' && data.status === 'gone') throw gone(this.progress.jobId);
    yield* this.#show(advance(this.progress, kind, data, id));
  }

  *#show(pairs) {
    for (const pair of pairs) {
      this.progress = pair[1];
      yield pair;
    }
  }

  // An answer that is no stream. 204: the reader has the end already; a refusal: another address may do, else polls.
  async #decline(answer) {
    this.pauseMs = retryAfter(answer) ?? this.pauseMs;
    if (answer.status === 204) this.#failures = PATIENCE;
    else if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) {
      // Its ticket may have ended.
      const { jobId } = this.progress;
      const fresh = await this.client.ticket({ jobId }, { signal: this.signal, retries: 0 }).catch(() => null);
      if (fresh) this.progress = { ...this.progress, eventsUrl: fresh.events };
      else this.#refused = await problemOf(answer);
    }
    await answer.body?.cancel().catch(() => {});
  }

  // One question, which waits for the end.
  async *poll() {
    this.pauseMs = 1000;
    this.#polls += 1;
    const { wait, polls } = this.#rounds < EARLY.rounds ? EARLY : LATE;
    try {
      const view = await this.client.status(this.progress.jobId, { wait, signal: this.signal, retries: 0 });
      this.#unknown = 0;
      if (this.#refused?.status === 404) this.#refused = null;
      yield* this.#show(update(this.progress, view) ?? []);
    } catch (error) {
      this.signal?.throwIfAborted();
      this.#judge(error);
    }
    if (this.#polls < polls) return;
    this.#rounds += 1;
    this.#polls = 0;
    this.#failures = PATIENCE - 1;
  }

  // Throws the error of a poll if no later one can do better.
  #judge(error) {
    const forbidden = error.status === 401 || error.status === 403;
    this.#unknown = error.status === 404 ? this.#unknown + 1 : 0;
    if (this.#unknown >= UNKNOWN) throw gone(this.progress.jobId);
    if (forbidden && this.#refused) throw error;
    // A page with a ticket may stream and not poll.
    if (forbidden) this.#failures = PATIENCE - 1;
    this.pauseMs = error.retryAfterMs ?? backOff(Math.min(this.#rounds + 1, 5), 1000);
  }
}

async function* watched(body, touch) {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      touch();
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const gone = (jobId) =>
  new PressworkError({ title: 'There is no such job any more', code: 'not-found', status: 404, jobId });
