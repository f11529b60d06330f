// Calls of the gateway's API. Errors are problem documents (RFC 9457).

import { session, signedOut } from './session.js';

// The path of the gateway, below which everything lies: this page is at `<path>/console/`.
export const BASE = new URL('../', location.href.split('#')[0].split('?')[0]).pathname;
export const ORIGIN = location.origin + BASE.replace(/\/$/, '');

const TIMEOUT_MS = 40000;

export class ApiError extends Error {
  constructor(status, problem, retryAfterS) {
    super(problem.detail || problem.title || `The gateway answered with ${status}`);
    this.status = status;
    this.type = (problem.type || '').replace('urn:presswork:problem:', '');
    this.title = problem.title || '';
    this.problem = problem;
    this.retryAfterMs = retryAfterS > 0 ? retryAfterS * 1000 : 0;
  }

  // Whether the call itself is not there, on a gateway of an earlier release, rather than the thing it is about.
  get absent() {
    return (this.status === 404 && this.type === 'not-found' && !this.problem.detail)
      || (this.status === 405) || this.type === 'listing-off';
  }
}

export function address(path, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') search.set(name, value);
  }
  const text = search.toString();
  return `${BASE}${path}${text ? `?${text}` : ''}`;
}

async function send(method, path, { query, body, signal, accept, headers } = {}) {
  const given = { Accept: accept || 'application/json', ...headers };
  const token = session.value?.caller?.token;
  if (method !== 'GET' && token) given['X-Presswork-Token'] = token;
  if (body !== undefined) given['Content-Type'] = 'application/json';
  const ends = AbortSignal.timeout(TIMEOUT_MS);
  let answer;
  try {
    answer = await fetch(address(path, query), {
      method,
      headers: given,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: signal ? AbortSignal.any([signal, ends]) : ends,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, { title: 'The gateway cannot be reached' }, 0);
  }
  if (answer.ok) return answer;

  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401 && session.value?.caller) signedOut();
  throw new ApiError(answer.status, problem, Number(answer.headers.get('Retry-After')));
}

const content = async (answer) => (answer.status === 204 ? null : answer.json());

export const api = {
  get: async (path, query, signal) => content(await send('GET', path, { query, signal })),
  text: async (path, query, accept) => (await send('GET', path, { query, accept })).text(),
  post: async (path, body, headers) => content(await send('POST', path, { body, headers })),
  patch: async (path, body) => content(await send('PATCH', path, { body })),
  remove: async (path) => content(await send('DELETE', path)),
};

// Calls that this gateway does not have: they are not tried again while the page is open.
const missing = new Set();

// The answer, or null where this gateway has no such call.
export async function optional(path, query, signal) {
  if (missing.has(path)) return null;
  try {
    return await api.get(path, query, signal);
  } catch (error) {
    if (!(error instanceof ApiError && error.absent)) throw error;
    missing.add(path);
    return null;
  }
}
