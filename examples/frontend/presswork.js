// @presswork/client as one file, made by `npm run bundle` in clients/js: change it there.

// src/errors.js
var PREFIX = "urn:presswork:problem:";
var PressworkError = class extends Error {
  // `problem`: a problem document (RFC 9457), or the members of one.
  constructor(problem, options) {
    super([problem.title, problem.detail].filter(Boolean).join(": "), options);
    this.name = "PressworkError";
    this.type = problem.type ?? "about:blank";
    this.code = this.type.startsWith(PREFIX) ? this.type.slice(PREFIX.length) : problem.code ?? (problem.status ? "http-error" : "no-answer");
    this.status = problem.status ?? 0;
    this.detail = problem.detail;
    this.errors = problem.errors ?? [];
    this.jobId = problem.jobId;
    this.jobStatus = problem.jobStatus;
    this.limit = problem.limit;
  }
};
var JobFailed = class extends PressworkError {
  constructor(end) {
    const cancelled = end.type === "cancelled";
    super({
      title: cancelled ? "The job was cancelled" : end.error?.message ?? "The job failed",
      code: cancelled ? "job-cancelled" : "job-failed",
      jobId: end.jobId,
      jobStatus: end.type
    });
    this.name = "JobFailed";
    this.end = end;
  }
};
async function problemOf(answer) {
  const { status } = answer;
  const document = await answer.json().catch(() => null);
  const known = typeof document?.title === "string";
  return new PressworkError({
    title: `The service gave no answer that can be read (${status})`,
    ...known && document,
    status
  });
}

// src/pauses.js
var LONGEST_MS = 3e4;
var LONGEST_ASKED_MS = 12e4;
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const leave = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", leave);
      resolve();
    }, ms);
    signal?.addEventListener("abort", leave, { once: true });
  });
}
function backOff(failures, firstMs = 250) {
  return Math.min(firstMs * 2 ** (failures - 1), LONGEST_MS) * (0.5 + Math.random() / 2);
}
function retryAfter(answer) {
  const seconds = Number.parseFloat(answer?.headers.get("retry-after") ?? "");
  return seconds >= 0 ? Math.min(seconds * 1e3, LONGEST_ASKED_MS) : void 0;
}
function timeLimit(ms, signal) {
  const controller = new AbortController();
  const follow2 = () => controller.abort(signal.reason);
  let timer;
  const allow = (more) => {
    clearTimeout(timer);
    timer = setTimeout(() => controller.abort(new DOMException("No answer in time", "TimeoutError")), more);
  };
  const end = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", follow2);
  };
  signal?.throwIfAborted();
  signal?.addEventListener("abort", follow2, { once: true });
  allow(ms);
  return { signal: controller.signal, allow, end };
}

// src/progress.js
var ENDS = ["completed", "failed", "cancelled"];
var STATUSES = ["queued", "processing", ...ENDS];
var begin = (jobId, eventsUrl) => ({ jobId, eventsUrl, status: "queued", text: "" });
var ended = (progress) => ENDS.includes(progress.status);
function advance(progress, kind, data, cursor) {
  const { jobId, status, ...rest } = data;
  const at = { ...progress, cursor: cursor ?? progress.cursor };
  const event = { type: kind, jobId: progress.jobId, ...rest };
  if (kind === "delta") return [[event, { ...at, text: at.text + data.text }]];
  if (kind === "processing") {
    const next = { ...at, status: "processing", attempt: data.attempt, text: "", note: void 0 };
    return [...replaced(progress, ""), [event, next]];
  }
  if (kind === "queued") return [[event, at]];
  if (kind === "retrying") return [[event, { ...at, status: "queued", note: data.reason }]];
  if (kind === "gap") {
    const next = { ...at, status: ENDS.includes(status) ? at.status : status, note: "gap" };
    return [[{ ...event, status }, next], ...replaced(next, data.text ?? (ENDS.includes(status) ? next.text : ""))];
  }
  return ENDS.includes(kind) ? finished(progress, event, at.cursor) : [];
}
function update(progress, view) {
  if (view?.jobId !== progress.jobId || !STATUSES.includes(view.status)) return null;
  if (ENDS.includes(view.status)) return finished(progress, { type: view.status, ...endOf(view) });
  if (view.status === progress.status) return [];
  const next = { ...progress, status: view.status, note: void 0 };
  if (view.status === "queued") return [[{ type: "queued", jobId: view.jobId, createdAt: view.createdAt }, next]];
  const { jobId, attempt, startedAt } = view;
  return [
    [
      { type: "processing", jobId, attempt, startedAt },
      { ...next, attempt }
    ]
  ];
}
var OF_AN_END = [
  "result",
  "error",
  "provider",
  "model",
  "usage",
  "costUsd",
  "finishReason",
  "passedOver",
  "metadata",
  "endedAt"
];
function endOf(view) {
  const known = OF_AN_END.filter((name) => view[name] !== void 0).map((name) => [name, view[name]]);
  return { jobId: view.jobId, attempt: view.attempt, ...Object.fromEntries(known) };
}
function finished(progress, end, cursor = progress.cursor) {
  const shown = typeof end.result === "string" ? replaced(progress, end.result) : [];
  const text = shown.at(-1)?.[1].text ?? progress.text;
  return [...shown, [end, { ...progress, cursor, text, status: end.type, note: void 0, end }]];
}
function replaced(progress, text) {
  const events = [];
  let shown = progress.text;
  if (!text.startsWith(shown)) {
    shown = "";
    events.push([
      { type: "reset", jobId: progress.jobId },
      { ...progress, text: "" }
    ]);
  }
  if (text !== shown) {
    events.push([
      { type: "delta", jobId: progress.jobId, text: text.slice(shown.length) },
      { ...progress, text }
    ]);
  }
  return events;
}

// src/sse.js
var LINE_END = /\r\n|\n|\r/;
async function* messages(chunks) {
  const decoder = new TextDecoder();
  const parser = new Parser();
  for await (const chunk of chunks) yield* parser.take(decoder.decode(chunk, { stream: true }));
}
var Parser = class {
  #rest = "";
  #event = "";
  #data = [];
  #id;
  #sent;
  #retry;
  *take(text) {
    let unread = this.#rest + text;
    for (; ; ) {
      const found = LINE_END.exec(unread);
      if (!found || found[0] === "\r" && found.index === unread.length - 1) break;
      const line = unread.slice(0, found.index);
      unread = unread.slice(found.index + found[0].length);
      if (line) this.#field(line);
      else yield* this.#dispatch();
    }
    this.#rest = unread;
  }
  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.#retry = Number(value);
  }
  *#dispatch() {
    const data = this.#data.length ? this.#data.join("\n") : void 0;
    if (data !== void 0 || this.#id !== this.#sent || this.#retry !== void 0) {
      yield { event: this.#event || "message", data, id: this.#id, retry: this.#retry };
    }
    this.#sent = this.#id;
    this.#event = "";
    this.#data = [];
  }
};

// src/follow.js
var PATIENCE = 2;
var EARLY = { rounds: 5, polls: 1, wait: 5 };
var LATE = { polls: 3, wait: 20 };
var FIRST_MS = 1e4;
var SILENT_MS = 45e3;
var UNKNOWN = 3;
async function* follow(client, from, signal) {
  const reader = new Reader(client, from, signal);
  while (!ended(reader.progress)) {
    signal?.throwIfAborted();
    yield* reader.streams ? reader.stream() : reader.poll();
    if (!ended(reader.progress)) await pause(reader.pauseMs, signal);
  }
}
var Reader = class {
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
      if (answer.status !== 200 || !answer.headers.get("content-type")?.startsWith("text/event-stream")) {
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
      headers: await this.client.headersFor(url, "text/event-stream"),
      signal,
      cache: "no-store"
    });
  }
  async *#read(answer, limit) {
    let asked;
    for await (const { event, data, id, retry } of messages(watched(answer.body, () => limit.allow(SILENT_MS)))) {
      asked = retry;
      if (data === void 0) continue;
      this.#failures = this.#rounds = this.#polls = 0;
      yield* this.#take(event, JSON.parse(data), id);
      if (ended(this.progress)) return;
    }
    if (asked !== void 0) this.pauseMs = asked * (1 + Math.random() / 4);
  }
  *#take(kind, data, id) {
    if (kind === "gap" && data.status === "gone") throw gone(this.progress.jobId);
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
      const { jobId } = this.progress;
      const fresh = await this.client.ticket({ jobId }, { signal: this.signal, retries: 0 }).catch(() => null);
      if (fresh) this.progress = { ...this.progress, eventsUrl: fresh.events };
      else this.#refused = await problemOf(answer);
    }
    await answer.body?.cancel().catch(() => {
    });
  }
  // One question, which waits for the end.
  async *poll() {
    this.pauseMs = 1e3;
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
    if (forbidden) this.#failures = PATIENCE - 1;
    this.pauseMs = error.retryAfterMs ?? backOff(Math.min(this.#rounds + 1, 5), 1e3);
  }
};
async function* watched(body, touch) {
  const reader = body.getReader();
  try {
    for (; ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      touch();
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {
    });
  }
}
var gone = (jobId) => new PressworkError({ title: "There is no such job any more", code: "not-found", status: 404, jobId });

// src/job.js
var Job = class {
  #client;
  constructor(client, from) {
    this.#client = client;
    this.from = from;
    this.id = from.jobId;
  }
  // Every event up to the end. `signal` stops it; with `onAbort: 'cancel'` it cancels the job too.
  async *events(options) {
    for await (const [event] of this.#follow(options)) yield event;
  }
  // The state after every event: plain data, which `client.job` takes to go on from there.
  async *progress(options) {
    yield this.from;
    for await (const [, progress] of this.#follow(options)) yield progress;
  }
  // The whole text so far, whenever it changed. Throws JobFailed when the job ends without a result.
  async *text(options) {
    let shown = "";
    for await (const [event, { text }] of this.#follow(options)) {
      if (text !== shown) yield shown = text;
      if (event.type === "failed" || event.type === "cancelled") throw new JobFailed(event);
    }
  }
  // The end of a completed job; throws JobFailed for any other.
  async result(options) {
    let end = this.from.end;
    for await (const [event] of this.#follow(options)) end = event;
    if (end.type !== "completed") throw new JobFailed(end);
    return end;
  }
  status(options) {
    return this.#client.status(this.id, options);
  }
  cancel(options) {
    return this.#client.cancel(this.id, options);
  }
  retry(options) {
    return this.#client.retry(this.id, options);
  }
  async *#follow({ signal, onAbort = "detach" } = {}) {
    const cancel = () => this.cancel().catch(() => {
    });
    if (onAbort === "cancel") signal?.addEventListener("abort", cancel, { once: true });
    try {
      yield* follow(this.#client, this.from, signal);
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }
};

// src/client.js
var TIMEOUT_MS = 3e4;
var PASSING = [408, 429, 502, 503, 504];
var Presswork = class {
  constructor(options = {}) {
    this.options = { ...options, baseUrl: options.baseUrl ?? "", retries: options.retries ?? 5 };
  }
  // Submits a job. The key makes it one job, however often it is sent.
  async submit(request, { idempotencyKey = this.newKey(), headers: more, signal } = {}) {
    const body = { ...this.options.defaults, ...request };
    const headers = { ...more, "Idempotency-Key": idempotencyKey };
    return this.#accepted(
      await this.call("POST", "/api/ai/generate-content", { body, headers, signal, holds: isAccepted })
    );
  }
  // Submits up to 500 jobs. One that is rejected is a PressworkError in its place.
  async submitMany(requests, { signal } = {}) {
    const jobs = requests.map((request) => ({ idempotencyKey: this.newKey(), ...this.options.defaults, ...request }));
    const holds = (answer2) => Array.isArray(answer2?.jobs);
    const answer = await this.call("POST", "/api/ai/generate-content/batch", { body: { jobs }, signal, holds });
    return answer.jobs.map(({ jobId, error }) => error ? new PressworkError(error) : this.job(jobId));
  }
  // A job that is there already: by its id, or by the progress of an earlier reader.
  job(from) {
    return new Job(this, typeof from === "string" ? begin(from) : from);
  }
  // Where a job stands; with `wait` (seconds, at most 30) as soon as it has ended.
  status(jobId, { wait, signal, retries } = {}) {
    const timeoutMs = TIMEOUT_MS + 1e3 * (wait ?? 0);
    const holds = (view) => view?.jobId === jobId;
    return this.call("GET", "/api/ai/job-status", { query: { jobId, wait }, signal, retries, timeoutMs, holds });
  }
  // Cancels a job; false when it had ended before.
  async cancel(jobId, { signal } = {}) {
    try {
      await this.call("POST", ofJob(jobId, "cancel"), { signal, keepalive: true });
      return true;
    } catch (error) {
      if (error.code !== "job-ended") throw error;
      return error.jobStatus === "cancelled";
    }
  }
  // Makes one new job of a failed or cancelled one; called again it is the same new job.
  async retry(jobId, { signal } = {}) {
    return this.#accepted(await this.call("POST", ofJob(jobId, "retry"), { signal, holds: isAccepted }));
  }
  list(query = {}, { signal } = {}) {
    return this.call("GET", "/api/ai/jobs", { query, signal });
  }
  usage(query = {}, { signal } = {}) {
    return this.call("GET", "/api/ai/usage", { query, signal });
  }
  stats({ signal } = {}) {
    return this.call("GET", "/api/ai/queue-stats", { signal });
  }
  // A ticket for a job's events, or an organization's: who has its address `events` can read them without a key.
  async ticket(about, { signal, retries } = {}) {
    const made = await this.call("POST", "/api/ai/event-tickets", { body: about, signal, retries });
    return { ...made, events: this.link(made.events).href };
  }
  // The answer to a call, as JSON. `holds`: whether it is one that the service gives; a proxy may give others.
  // Throws a PressworkError, or the signal's reason.
  async call(method, path, options = {}) {
    const { query = {}, body, headers, signal, keepalive, retries = this.options.retries } = options;
    const url = this.url(path);
    for (const [name, value] of Object.entries(query)) if (value !== void 0) url.searchParams.set(name, value);
    const kind = body === void 0 ? {} : { "Content-Type": "application/json" };
    const request = { method, keepalive, body: body && JSON.stringify(body) };
    for (let tries = 1; ; tries += 1) {
      request.headers = { ...await this.headersFor(url), ...kind, ...headers };
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
      const content = answer.status === 204 ? void 0 : await answer.json();
      return holds(content) ? content : new PressworkError({ title: UNREADABLE });
    } catch (cause) {
      signal?.throwIfAborted();
      return new PressworkError(
        { title: cause instanceof SyntaxError ? UNREADABLE : "The service cannot be reached" },
        { cause }
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
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join(
      ""
    );
  }
  // The address of a call.
  url(path) {
    return new URL(this.options.baseUrl.replace(/\/$/, "") + path, globalThis.location?.href);
  }
  // The address of a link to events, which begins at the origin or is a whole one.
  link(address) {
    return new URL(address, this.options.eventsBaseUrl || this.url("/"));
  }
  fetch(url, request) {
    return (this.options.fetch ?? globalThis.fetch)(url, request);
  }
  // Headers of a request. The key, and others of the options, go to the API's own origin and to no other.
  async headersFor(url, accept = "application/json") {
    if (url.origin !== this.url("/").origin) return { Accept: accept };
    const { apiKey, headers } = this.options;
    const key = typeof apiKey === "function" ? await apiKey() : apiKey;
    return { Accept: accept, ...headers, ...key ? { Authorization: `Bearer ${key}` } : {} };
  }
  // The address of a job's stream.
  eventsOf({ jobId, eventsUrl, cursor }) {
    const { eventsBaseUrl } = this.options;
    const path = "/api/ai/job-events";
    const url = eventsUrl || eventsBaseUrl ? this.link(eventsUrl ?? path) : this.url(path);
    url.searchParams.set("jobId", jobId);
    if (cursor) url.searchParams.set("lastEventId", cursor);
    return url;
  }
};
var UNREADABLE = "The service gave no answer that can be read";
var isAccepted = (answer) => typeof answer?.jobId === "string" && typeof answer.links?.events === "string";
var ofJob = (jobId, action) => `/api/ai/jobs/${encodeURIComponent(jobId)}/${action}`;
export {
  Job,
  JobFailed,
  Presswork,
  PressworkError
};
