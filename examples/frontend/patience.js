// Waits before a call is repeated.

const LONGEST_SECONDS = 60;

export const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

// The answer's retry-after, within 1 to 60 s; `otherwise` when it has none, or one that is no number of seconds.
export function retryAfter(answer, otherwise) {
  const seconds = Number.parseInt(answer?.headers.get('retry-after') ?? '', 10);
  return Number.isNaN(seconds) ? otherwise : Math.min(Math.max(seconds, 1), LONGEST_SECONDS);
}
