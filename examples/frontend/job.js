// One job as this page knows it: pure state, changed by events alone. Nothing here touches the page or the network.

export const ENDS = ['completed', 'failed', 'cancelled'];
const STATUSES = ['queued', 'processing', ...ENDS];
export const KINDS = ['queued', 'processing', 'delta', 'retrying', 'gap', ...ENDS];

const REASONS = {
  error: 'The attempt failed',
  worker_lost: 'The worker was lost',
  drain: 'The worker is being replaced',
  rate_limited: 'The provider is busy',
};

export class Job {
  // `saved` is what `save` gave before a reload.
  constructor(id, eventsUrl, saved = {}) {
    this.id = id;
    this.eventsUrl = eventsUrl;
    this.status = saved.status ?? 'queued';
    this.text = saved.text ?? '';
    this.lastEventId = saved.lastEventId ?? '';
    this.note = saved.note ?? '';
    // Whether `text` may lack something that the result has: after a gap, or when the end came by polling.
    this.partial = saved.partial ?? false;
    this.end = saved.end ?? null;
    // Answers in a row by which job-status knew no such job.
    this.unknown = 0;
  }

  get ended() {
    return ENDS.includes(this.status);
  }

  save() {
    const { id, eventsUrl, status, text, lastEventId, note, partial, end } = this;
    return { id, eventsUrl, status, text, lastEventId, note, partial, end };
  }

  // An event of the stream. The deltas since the last `processing` add up to the result.
  take(kind, data, lastEventId) {
    this.lastEventId = lastEventId || this.lastEventId;
    if (kind === 'delta') {
      this.text += data.text;
    } else if (kind === 'processing') {
      Object.assign(this, { status: 'processing', text: '', note: data.attempt > 1 ? `Attempt ${data.attempt}` : '', partial: false });
    } else if (kind === 'retrying') {
      Object.assign(this, { status: 'queued', note: `${REASONS[data.reason] ?? 'Interrupted'}, it will be tried again` });
    } else if (kind === 'gap') {
      // The gap of a job that has ended is followed by its end, which alone carries the result: until then it is not over.
      const status = ENDS.includes(data.status) ? this.status : data.status;
      Object.assign(this, { status, text: data.text ?? '', note: 'Some of the text was missed', partial: true });
    } else if (ENDS.includes(kind)) {
      this.finish(kind, data);
    }
  }

  // Takes an answer of job-status, which has no text before the end. False when it is not about this job: a proxy
  // may answer 200 with something else.
  update(view) {
    if (view?.jobId !== this.id || !STATUSES.includes(view.status)) return false;
    if (ENDS.includes(view.status)) {
      this.partial = true;
      this.finish(view.status, view);
    } else if (view.status !== this.status) {
      Object.assign(this, { status: view.status, note: '' });
    }
    return true;
  }

  finish(status, data) {
    const { result, error, provider, model, usage, costUsd } = data;
    if (result !== undefined && result !== null && result !== this.text) {
      // Without any text there were no deltas: a gateway that saves commands writes none.
      if (!this.partial && this.text) console.warn('the deltas did not add up to the result');
      this.text = result;
    }
    Object.assign(this, { status, note: '', end: { error, provider, model, usage, costUsd } });
  }
}
