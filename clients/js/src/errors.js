// Errors of calls and of jobs. `code` is the end of the problem's `type`: `not-found`, `queue-full`, …

const PREFIX = 'urn:presswork:problem:';

export class PressworkError extends Error {
  // `problem`: a problem document (RFC 9457), or the members of one.
  constructor(problem, options) {
    super([problem.title, problem.detail].filter(Boolean).join(': '), options);
    this.name = 'PressworkError';
    this.type = problem.type ?? 'about:blank';
    this.code = this.type.startsWith(PREFIX)
      ? this.type.slice(PREFIX.length)
      : (problem.code ?? (problem.status ? 'http-error' : 'no-answer'));
    this.status = problem.status ?? 0;
    this.detail = problem.detail;
    this.errors = problem.errors ?? [];
    this.jobId = problem.jobId;
    this.jobStatus = problem.jobStatus;
    this.limit = problem.limit;
  }
}

// A job that ended without its result. `end`: the event that it ended with.
export class JobFailed extends PressworkError {
  constructor(end) {
    const cancelled = end.type === 'cancelled';
    super({
      title: cancelled ? 'The job was cancelled' : (end.error?.message ?? 'The job failed'),
      code: cancelled ? 'job-cancelled' : 'job-failed',
      jobId: end.jobId,
      jobStatus: end.type,
    });
    this.name = 'JobFailed';
    this.end = end;
  }
}

// The error of an answer: its problem document, or its status when a proxy answered in the service's place.
export async function problemOf(answer) {
  const { status } = answer;
  const document = await answer.json().catch(() => null);
  const known = typeof document?.title === 'string';
  return new PressworkError({
    title: `The service gave no answer that can be read (${status})`,
    ...(known && document),
    status,
  });
}
