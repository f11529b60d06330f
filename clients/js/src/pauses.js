// Waits between tries: longer each time, of random length so that not all clients come back at once.

const LONGEST_MS = 30_000;
const LONGEST_ASKED_MS = 120_000;

// Resolves after the time; rejects with the signal's reason when it is aborted before.
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const leave = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', leave);
      resolve();
    }, ms);
    signal?.addEventListener('abort', leave, { once: true });
  });
}

// Milliseconds before the next try after `failures` (from 1) in a row.
export function backOff(failures, firstMs = 250) {
  return Math.min(firstMs * 2 ** (failures - 1), LONGEST_MS) * (0.5 + Math.random() / 2);
}

// Milliseconds of an answer's Retry-After; undefined when it has none, or one that is no number of seconds.
export function retryAfter(answer) {
  const seconds = Number.parseFloat(answer?.headers.get('retry-after') ?? '');
  return seconds >= 0 ? Math.min(seconds * 1000, LONGEST_ASKED_MS) : undefined;
}

// A signal that follows another one and is aborted after `ms` too; `allow` begins the time again.
export function timeLimit(ms, signal) {
  const controller = new AbortController();
  const follow = () => controller.abort(signal.reason);
  let timer;
  const allow = (more) => {
    clearTimeout(timer);
    timer = setTimeout(() => controller.abort(new DOMException('No answer in time', 'TimeoutError')), more);
  };
  const end = () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', follow);
  };
  signal?.throwIfAborted();
  signal?.addEventListener('abort', follow, { once: true });
  allow(ms);
  return { signal: controller.signal, allow, end };
}
