// The calls of the API. Each is repeated while the service is away, and none of them twice has an effect twice.

import { PressworkError, problemOf } from './errors.js';
import { Job } from './job.js';
import { backOff, pause, retryAfter, timeLimit } from './pauses.js';
import { begin } from './progress.js';

const TIMEOUT_MS = 30_000;

// Answers of a service, or of a proxy before it, that may be another one later. No answer at all counts as one of them.
const PASSING = [408, 429, 502, 503, 504];

export class Presswork {
  constructor(options = {}) {
    this.options = { ...options, baseUrl: options.baseUrl ?? '', retries: options.retries ?? 5 };
  }

  // Submits a job. The key makes it one job, however often it is sent.
  async submit(request, { idempotencyKey = this.newKey(), headers: more, signal } = {}) {
    const body = { ...this.options.defaults, ...request };
    const headers = { ...more, 'Idempotency-Key': idempotencyKey };
    return this.#accepted(
      await this.call('POST', '/api/ai/generate-content', { body, headers, signal, holds: isAccepted }),
    );
  }

  // Submits up to 500 jobs. One that is rejected is a PressworkError in its place.
  async submitMany(requests, { signal } = {}) {
    const jobs = requests.map((request) => ({ idempotencyKey: this.newKey(), ...this.options.defaults, ...request }));
    const holds = (answer) => Array.isArray(answer?.jobs);
    const answer = await this.call('POST', '/api/ai/generate-content/batch', { body: { jobs }, signal, holds });
    return answer.jobs.map(({ jobId, error }) => (error ? new PressworkError(error) : this.job(jobId)));
  }

  // A job that is there already: by its id, or by the progress of an earlier reader.
  job(from) {
    return new Job(this, typeof from === 'string' ? begin(from) : from);
  }

  // Where a job stands; with `wait` (seconds, at most 30) as soon as it has ended.
  status(jobId, { wait, signal, retries } = {}) {
    const timeoutMs = TIMEOUT_MS + 1000 * (wait ?? 0);
    const holds = (view) => view?.jobId === jobId;
    return this.call('GET', '/api/ai/job-status', { query: { jobId, wait }, signal, retries, timeoutMs, holds });
  }

  // Cancels a job; false when it had ended before.
  async cancel(jobId, { signal } = {}) {
    try {
      await this.call('POST', ofJob(jobId, 'cancel'), { signal, keepalive: true });
      return true;
    } catch (error) {
      if (error.code !== 'job-ended') throw error;
      return error.jobStatus === 'cancelled';
    }
  }

  // Makes one new job of a failed or cancelled one; called again it is the same new job.
  async retry(jobId, { signal } = {}) {
    return this.#accepted(await this.call('POST', ofJob(jobId, 'retry'), { signal, holds: isAccepted }));
  }

  list(query = {}, { signal } = {}) {
    return this.call('GET', '/api/ai/jobs', { query, signal });
  }

  usage(query = {}, { signal } = {}) {
    return this.call('GET', '/api/ai/usage', { query, signal });
  }

  stats({ signal } = {}) {
    return this.call('GET', '/api/ai/queue-stats', { signal });
  }

  // A ticket for a job's events, or an organization's: who has its address `events` can read them without a key.
  async ticket(about, { signal, retries } = {}) {
    const made = await this.call('POST', '/api/ai/event-tickets', { body: about, signal, retries });
    return { ...made, events: this.link(made.events).href };
  }

  // The answer to a call, as JSON. `holds`: whether it is one that the service gives; a proxy may give others.
  // Throws a PressworkError, or the signal's reason.
  async call(method, path, options = {}) {
    const { query = {}, body, headers, signal, keepalive, retries = this.options.retries } = options;
    const url = this.url(path);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
    const kind = body === undefined ? {} : { 'Content-Type': 'application/json' };
    const request = { method, keepalive, body: body && JSON.stringify(body) };

    for (let tries = 1; ; tries += 1) {
      request.headers = { ...(await this.headersFor(url)), ...kind, ...headers };
      const found = await this.#once(url, request, options);
      if (!(found instanceof PressworkError)) return found;
      if (tries > retries || !(found.status === 0 || PASSING.includes(found.status))) throw found;
      this.options.onRetry?.(found);
      await pause(found.retryAfterMs ?? backOff(tries, 500), signal);
    }
  }

  async #once(url, request, { signal, timeoutMs = TIMEOUT_MS, holds = () => true }) {
    const limit = timeLimit(timeoutMs, signal);
    try {
      const answer = await this.fetch(url, { ...request, signal: limit.signal });
      if (!answer.ok) return Object.assign(await problemOf(answer), { retryAfterMs: retryAfter(answer) });
      const content = answer.status === 204 ? undefined : await answer.json();
      return holds(content) ? content : new PressworkError({ title: UNREADABLE });
    } catch (cause) {
      signal?.throwIfAborted();
      return new PressworkError(
        { title: cause instanceof SyntaxError ? UNREADABLE : 'The service cannot be reached' },
        { cause },
      );
    } finally {
      limit.end();
    }
  }

  #accepted({ jobId, links }) {
    return this.job(begin(jobId, this.link(links.events).href));
  }

  // 128 random bits; `randomUUID` is not there on pages without HTTPS.
  newKey() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join(
      '',
    );
  }

  // The address of a call.
  url(path) {
    return new URL(this.options.baseUrl.replace(/\/$/, '') + path, globalThis.location?.href);
  }

  // The address of a link to events, which begins at the origin or is a whole one.
  link(address) {
    return new URL(address, this.options.eventsBaseUrl || this.url('/'));
  }

  fetch(url, request) {
    return (this.options.fetch ?? globalThis.fetch)(url, request);
  }

  // Headers of a request. The key, and others of the options, go to the API's own origin and to no other.
  async headersFor(url, accept = 'application/json') {
    if (url.origin !== this.url('/').origin) return { Accept: accept };
    const { apiKey, headers } = this.options;
    const key = typeof apiKey === 'function' ? await apiKey() : apiKey;
    return { Accept: accept, ...headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  }

  // The address of a job's stream.
  eventsOf({ jobId, eventsUrl, cursor }) {
    const { eventsBaseUrl } = this.options;
    const path = '/api/ai/job-events';
    const url = eventsUrl || eventsBaseUrl ? this.link(eventsUrl ?? path) : this.url(path);
    url.searchParams.set('jobId', jobId);
    // As a parameter it needs no preflight, as the header of this name would.
    if (cursor) url.searchParams.set('lastEventId', cursor);
    return url;
  }
}

const UNREADABLE = 'The service gave no answer that can be read';

const isAccepted = (answer) => typeof answer?.jobId === 'string' && typeof answer.links?.events === 'string';

const ofJob = (jobId, action) => `/api/ai/jobs/${encodeURIComponent(jobId)}/${action}`;
