// For servers that hold the key: tickets, and a handler that lets a page use the API as its own user alone.

import { Presswork } from './client.js';
import { PressworkError } from './errors.js';

const LONGEST_WAIT_SECONDS = 25;

// A ticket: `events` is an address at which a browser reads a job's events without a key.
export function createTicket(options, about, { signal } = {}) {
  return clientOf(options).ticket(about, { signal });
}

// `GET` and `POST` for a route like `/api/ai/[...path]`, as Next.js, Remix and others take them: submit, status, cancel,
// retry and tickets, for jobs of the user that `identify` names. Streams go to the service itself, with a ticket.
export function createHandler({ identify, ...options }) {
  const handler = new Handler(clientOf(options), identify);
  const answer = (request) => handler.answer(request);
  return { GET: answer, POST: answer };
}

const clientOf = (options) => (options instanceof Presswork ? options : (options.client ?? new Presswork(options)));

class Handler {
  constructor(client, identify) {
    this.client = client;
    this.identify = identify;
  }

  async answer(request) {
    try {
      const site = request.headers.get('sec-fetch-site') ?? 'same-origin';
      if (request.method !== 'GET' && site !== 'same-origin' && site !== 'none')
        throw refusal(403, 'Another site may not do this');
      const user = await this.identify(request);
      if (!user) throw refusal(401, 'Nobody is signed in');
      const [status, content] = await this.#route(request, new URL(request.url), user);
      return Response.json(content, { status, headers: { 'Cache-Control': 'no-store' } });
    } catch (error) {
      return problem(error);
    }
  }

  async #route(request, url, user) {
    const { signal } = request;
    const call = `${request.method} ${url.pathname.replace(/^.*\/api\/ai\//, '').replace(/\/$/, '')}`;
    const [, jobId, action] = /^POST jobs\/([\w-]+)\/(cancel|retry)$/.exec(call) ?? [];
    if (call === 'POST generate-content') return [202, await this.#submit(request, user)];
    if (call === 'GET job-status') {
      const wait = Math.min(Number(url.searchParams.get('wait')) || 0, LONGEST_WAIT_SECONDS);
      const job = await this.#owned(url.searchParams.get('jobId'), user, { signal });
      return [200, wait && !job.endedAt ? await this.client.status(job.jobId, { wait, signal }) : job];
    }
    if (call === 'POST event-tickets') {
      const { jobId: id } = await request.json().catch(() => ({}));
      await this.#owned(id, user, { signal });
      return [201, await this.client.ticket({ jobId: id }, { signal })];
    }
    if (!jobId) throw refusal(404, 'There is nothing here');
    await this.#owned(jobId, user, { signal });
    const answer = await this.client.call('POST', `/api/ai/jobs/${jobId}/${action}`, { signal });
    return action === 'retry' ? [202, this.#absolute(answer)] : [200, answer];
  }

  // The user's own ids win over those of the body.
  async #submit(request, user) {
    const body = await request.json().catch(() => null);
    if (!body || typeof body !== 'object') throw refusal(400, 'The body must be JSON');
    const key = request.headers.get('idempotency-key');
    const headers = key ? { 'Idempotency-Key': key } : {};
    // Without a key a repeated submit would be another job: it is sent once.
    const retries = key ? undefined : 0;
    const { signal } = request;
    return this.#absolute(
      await this.client.call('POST', '/api/ai/generate-content', {
        body: { ...body, ...user },
        headers,
        retries,
        signal,
      }),
    );
  }

  // The page's origin is another one than the service's.
  #absolute(accepted) {
    return { ...accepted, links: { ...accepted.links, events: this.client.link(accepted.links.events).href } };
  }

  async #owned(jobId, user, options) {
    if (!jobId) throw refusal(400, 'Name a job');
    const job = await this.client.status(jobId, options);
    if (Object.entries(user).some(([name, value]) => job[name] !== value)) throw refusal(404, 'There is nothing here');
    return job;
  }
}

const refusal = (status, title) => new PressworkError({ title, status });

function problem(error) {
  const known = error instanceof PressworkError;
  const status = (known && error.status) || 503;
  const { type, message, detail, errors, jobId, jobStatus } = known
    ? error
    : { type: 'about:blank', message: 'It went wrong' };
  const headers = { 'Content-Type': 'application/problem+json' };
  if (error.retryAfterMs) headers['Retry-After'] = String(Math.ceil(error.retryAfterMs / 1000));
  const title = detail ? message.replace(`: ${detail}`, '') : message;
  return Response.json({ type, title, status, detail, errors, jobId, jobStatus }, { status, headers });
}
