import type { About, CallOptions, Presswork, PressworkOptions, Ticket } from './index.js';

/** A client, or the options of one: `baseUrl` and `apiKey`. */
export type Connection = Presswork | PressworkOptions;

/** A ticket: `events` is an address at which a browser reads a job's events without a key. */
export function createTicket(connection: Connection, about: About, options?: CallOptions): Promise<Ticket>;

/** The ids that a signed-in user's jobs have. They win over those that the page sends. */
export interface User {
  userId: string;
  projectId?: string;
  organizationId?: string;
}

export type Identify = (request: Request) => User | null | undefined | Promise<User | null | undefined>;

/**
 * Handlers of a route like `/api/ai/[...path]`: submit, status, cancel, retry and tickets for jobs of the user that
 * `identify` names; null: nobody is signed in.
 */
export function createHandler(options: { identify: Identify } & (PressworkOptions | { client: Presswork })): {
  GET: (request: Request) => Promise<Response>;
  POST: (request: Request) => Promise<Response>;
};
