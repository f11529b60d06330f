import { JobFailed } from './errors.js';
import { follow } from './follow.js';

// One job, and where its reader begins. Each of its methods follows the job for itself.
export class Job {
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
    let shown = '';
    for await (const [event, { text }] of this.#follow(options)) {
      if (text !== shown) yield (shown = text);
      if (event.type === 'failed' || event.type === 'cancelled') throw new JobFailed(event);
    }
  }

  // The end of a completed job; throws JobFailed for any other.
  async result(options) {
    let end = this.from.end;
    for await (const [event] of this.#follow(options)) end = event;
    if (end.type !== 'completed') throw new JobFailed(end);
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

  async *#follow({ signal, onAbort = 'detach' } = {}) {
    const cancel = () => this.cancel().catch(() => {});
    if (onAbort === 'cancel') signal?.addEventListener('abort', cancel, { once: true });
    try {
      yield* follow(this.#client, this.from, signal);
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }
}
