// A job as far as a reader has followed it: plain data that can be stored, changed by events alone. Pure.

const ENDS = ['completed', 'failed', 'cancelled'];
const STATUSES = ['queued', 'processing', ...ENDS];

export const begin = (jobId, eventsUrl) => ({ jobId, eventsUrl, status: 'queued', text: '' });

export const ended = (progress) => ENDS.includes(progress.status);

// A message of the stream: the events that a reader gets for it, each with the progress after it.
export function advance(progress, kind, data, cursor) {
  const { jobId, status, ...rest } = data;
  const at = { ...progress, cursor: cursor ?? progress.cursor };
  const event = { type: kind, jobId: progress.jobId, ...rest };
  if (kind === 'delta') return [[event, { ...at, text: at.text + data.text }]];
  if (kind === 'processing') {
    const next = { ...at, status: 'processing', attempt: data.attempt, text: '', note: undefined };
    return [...replaced(progress, ''), [event, next]];
  }
  if (kind === 'queued') return [[event, at]];
  if (kind === 'retrying') return [[event, { ...at, status: 'queued', note: data.reason }]];
  // Of a job that has ended, the end follows, which alone has the result: until then it is not over.
  if (kind === 'gap') {
    const next = { ...at, status: ENDS.includes(status) ? at.status : status, note: 'gap' };
    return [[{ ...event, status }, next], ...replaced(next, data.text ?? (ENDS.includes(status) ? next.text : ''))];
  }
  return ENDS.includes(kind) ? finished(progress, event, at.cursor) : [];
}

// An answer of job-status, which has no text before the end; null when it is not about this job.
export function update(progress, view) {
  if (view?.jobId !== progress.jobId || !STATUSES.includes(view.status)) return null;
  if (ENDS.includes(view.status)) return finished(progress, { type: view.status, ...endOf(view) });
  if (view.status === progress.status) return [];
  const next = { ...progress, status: view.status, note: undefined };
  if (view.status === 'queued') return [[{ type: 'queued', jobId: view.jobId, createdAt: view.createdAt }, next]];
  const { jobId, attempt, startedAt } = view;
  return [
    [
      { type: 'processing', jobId, attempt, startedAt },
      { ...next, attempt },
    ],
  ];
}

const OF_AN_END = [
  'result',
  'error',
  'provider',
  'model',
  'usage',
  'costUsd',
  'finishReason',
  'passedOver',
  'metadata',
  'endedAt',
];

function endOf(view) {
  const known = OF_AN_END.filter((name) => view[name] !== undefined).map((name) => [name, view[name]]);
  return { jobId: view.jobId, attempt: view.attempt, ...Object.fromEntries(known) };
}

// The end, after as much text as the result has more than was shown. Only the end moves the cursor: a reader that stops
// before it comes back to the whole of it.
function finished(progress, end, cursor = progress.cursor) {
  const shown = typeof end.result === 'string' ? replaced(progress, end.result) : [];
  const text = shown.at(-1)?.[1].text ?? progress.text;
  return [...shown, [end, { ...progress, cursor, text, status: end.type, note: undefined, end }]];
}

// Events that make another text of the one shown so far: the deltas since the last reset always add up to it.
function replaced(progress, text) {
  const events = [];
  let shown = progress.text;
  if (!text.startsWith(shown)) {
    shown = '';
    events.push([
      { type: 'reset', jobId: progress.jobId },
      { ...progress, text: '' },
    ]);
  }
  if (text !== shown) {
    events.push([
      { type: 'delta', jobId: progress.jobId, text: text.slice(shown.length) },
      { ...progress, text },
    ]);
  }
  return events;
}
