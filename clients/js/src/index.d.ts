/** Ways to reach the service. */
export interface PressworkOptions {
  /** Address of the API, with the path before `/api` if there is one. Left out: the page's own origin. */
  baseUrl?: string;
  /** Origin of the event streams where the service's links do not name it. Left out: that of the API. */
  eventsBaseUrl?: string;
  /** A key, for servers alone: a visitor can read a key in a page. A function is asked before every request. */
  apiKey?: string | (() => string | undefined | Promise<string | undefined>);
  /** More headers of every request to the API's own origin. */
  headers?: Record<string, string>;
  /** Members of every job that is submitted: `projectId`, `userId`, `organizationId`, … */
  defaults?: Partial<JobRequest>;
  /** How often a call is repeated while the service is away. Left out: 5. */
  retries?: number;
  /** Is called before a call is repeated. */
  onRetry?: (error: PressworkError) => void;
  fetch?: typeof globalThis.fetch;
}

export type JobStatus = 'queued' | 'processing' | 'completed' | 'failed' | 'cancelled';
export type Priority = 'high' | 'normal' | 'low';
export type Scalar = string | number | boolean;

/** A job to be done. What may be left out is decided by the service. */
export interface JobRequest {
  projectId: string;
  userId: string;
  /** May be left out by a key that is bound to an organization. */
  organizationId?: string;
  prompt: string;
  parameters?: { tone?: string; length?: string; platform?: string } & Record<string, Scalar | Scalar[] | undefined>;
  priority?: Priority;
  provider?: string;
  model?: string;
  /** `provider:model` names in order of preference, instead of `provider` and `model`. */
  providers?: string[];
  maxTokens?: number;
  /** USD of all attempts together. */
  maxCostUsd?: number;
  temperature?: number;
  effort?: 'low' | 'medium' | 'high';
  delaySeconds?: number;
  maxAttempts?: number;
  timeoutSeconds?: number;
  deadlineSeconds?: number;
  metadata?: Record<string, unknown>;
  /** A JSON Schema: the result is a JSON text that fits it, or the job fails as `SchemaMismatch`. */
  responseSchema?: Record<string, unknown>;
}

export interface Usage {
  inputTokens: number;
  outputTokens: number;
  cachedTokens: number;
  /** The provider did not report them. */
  estimated: boolean;
  reasoningTokens?: number;
}

/** Why a job failed, safe to show. */
export interface JobError {
  type: string;
  message: string;
  retryable: boolean;
}

interface Outcome {
  error?: JobError;
  provider?: string;
  model?: string;
  usage?: Usage;
  /** USD of all attempts together; left out: not known. */
  costUsd?: number;
  finishReason?: string;
  passedOver?: { provider: string; model: string; reason: string }[];
  metadata?: Record<string, unknown>;
  endedAt?: string;
}

/** An answer of job-status. Times are ISO 8601 in UTC. */
export interface JobView extends Outcome {
  jobId: string;
  status: JobStatus;
  result?: string;
  projectId: string;
  userId: string;
  organizationId: string;
  priority: Priority;
  attempt: number;
  maxAttempts: number;
  cancelRequested?: boolean;
  retryOf?: string;
  requestMetadata?: Record<string, unknown>;
  createdAt: string;
  deadlineAt: string;
  startedAt?: string;
  nextAttemptAt?: string;
}

interface OfJob {
  jobId: string;
}

export interface CompletedEvent extends OfJob, Outcome {
  type: 'completed';
  attempt: number;
  result: string;
}
export interface FailedEvent extends OfJob, Outcome {
  type: 'failed';
  attempt: number;
  result?: string;
  error: JobError;
}
export interface CancelledEvent extends OfJob, Outcome {
  type: 'cancelled';
  attempt: number;
  /** The text so far. */
  result?: string;
}
export type EndEvent = CompletedEvent | FailedEvent | CancelledEvent;

/** The deltas since the last `reset` always add up to the text. */
export type JobEvent =
  | (OfJob & { type: 'queued'; createdAt: string })
  | (OfJob & { type: 'processing'; attempt: number; startedAt?: string })
  | (OfJob & { type: 'delta'; text: string })
  /** The text shown so far is void: its attempt was superseded by another one. */
  | (OfJob & { type: 'reset' })
  | (OfJob & { type: 'retrying'; attempt: number; reason: RetryReason; nextAttemptAt?: string })
  /** Events were missed; what follows makes the text whole again. */
  | (OfJob & { type: 'gap'; status: JobStatus; attempt?: number; text?: string })
  | EndEvent;

export type RetryReason = 'error' | 'worker_lost' | 'drain' | 'rate_limited' | 'schema_mismatch';

/** A job as far as a reader has followed it: plain data to be stored, from which `client.job` goes on. */
export interface Progress {
  jobId: string;
  /** Address of the stream; with a ticket in it, so it belongs into no log. */
  eventsUrl?: string;
  status: JobStatus;
  text: string;
  attempt?: number;
  /** Why it waits again, or that events were missed. */
  note?: RetryReason | 'gap';
  cursor?: string;
  end?: EndEvent;
}

export interface FollowOptions {
  signal?: AbortSignal;
  /** Whether an abort only stops reading, or cancels the job too. Left out: `detach`. */
  onAbort?: 'detach' | 'cancel';
}

export interface CallOptions {
  signal?: AbortSignal;
}

/** One job. Each of its methods follows it for itself, through cuts and restarts. */
export class Job {
  constructor(client: Presswork, from: Progress);
  readonly id: string;
  /** Where its readers begin. */
  readonly from: Progress;
  /** Every event up to the end. */
  events(options?: FollowOptions): AsyncGenerator<JobEvent, void, void>;
  /** The state after every event. */
  progress(options?: FollowOptions): AsyncGenerator<Progress, void, void>;
  /** The whole text so far, whenever it changed. Throws JobFailed when the job ends without a result. */
  text(options?: FollowOptions): AsyncGenerator<string, void, void>;
  /** The end of a completed job; throws JobFailed for any other. */
  result(options?: FollowOptions): Promise<CompletedEvent>;
  status(options?: CallOptions & { wait?: number }): Promise<JobView>;
  /** False when it had ended before. */
  cancel(options?: CallOptions): Promise<boolean>;
  /** A new job of a failed or cancelled one; called again it is the same new job. */
  retry(options?: CallOptions): Promise<Job>;
}

export interface Ticket {
  ticket: string;
  expiresAt: string;
  /** Whole address of the stream, with the ticket in it. */
  events: string;
}

export type About = { jobId: string } | { organizationId: string };

/** Jobs of the organization of a bound key, otherwise of all, which are split further. */
export interface QueueStats {
  success: boolean;
  stats: Record<'queued' | 'processing' | 'completed' | 'failed' | 'cancelled' | 'delayed' | 'backlog', number> & {
    throttled?: number;
    waiting?: Record<string, number>;
  };
  timestamp: string;
}

export interface UsageSums {
  jobs: number;
  inputTokens: number;
  outputTokens: number;
  cachedTokens: number;
  costUsd: number | null;
  unknownCostJobs: number;
  estimatedJobs: number;
}

/** Calls of the API. Each is repeated while the service is away, and none has an effect twice. */
export class Presswork {
  constructor(options?: PressworkOptions);
  readonly options: PressworkOptions;
  /** `request`: without the members that `defaults` has. `idempotencyKey`: the same key and body are the same job. */
  submit(
    request: Partial<JobRequest> & { prompt: string },
    options?: CallOptions & { idempotencyKey?: string; headers?: Record<string, string> },
  ): Promise<Job>;
  /** Up to 500 jobs; one that is rejected is an error in its place. */
  submitMany(
    requests: (Partial<JobRequest> & { prompt: string; idempotencyKey?: string })[],
    options?: CallOptions,
  ): Promise<(Job | PressworkError)[]>;
  /** A job that is there already. */
  job(from: string | Progress): Job;
  /** `wait`: seconds, at most 30, within which it answers as soon as the job has ended. */
  status(jobId: string, options?: CallOptions & { wait?: number; retries?: number }): Promise<JobView>;
  cancel(jobId: string, options?: CallOptions): Promise<boolean>;
  retry(jobId: string, options?: CallOptions): Promise<Job>;
  list(
    query?: { organizationId?: string; status?: JobStatus; cursor?: string; limit?: number },
    options?: CallOptions,
  ): Promise<{ jobs: (JobView | { jobId: string; error: JobError; jobStatus?: string })[]; cursor: string | null }>;
  usage(query?: { organizationId?: string; from?: string; to?: string }, options?: CallOptions): Promise<UsageView>;
  stats(options?: CallOptions): Promise<QueueStats>;
  ticket(about: About, options?: CallOptions & { retries?: number }): Promise<Ticket>;
  /** Any other call; its answer as JSON. */
  call<Answer = unknown>(
    method: string,
    path: string,
    options?: CallOptions & {
      query?: Record<string, Scalar | undefined>;
      body?: unknown;
      headers?: Record<string, string>;
      keepalive?: boolean;
      retries?: number;
      timeoutMs?: number;
      holds?: (answer: unknown) => boolean;
    },
  ): Promise<Answer>;
  /** A new idempotency key. */
  newKey(): string;
}

export interface ModelUsage extends UsageSums {
  provider: string;
  model: string;
}

/** `next`: the first day that is left out because the answer would be too long; null: there is none. */
export interface UsageView {
  organizationId: string;
  from: string;
  to: string;
  totals: UsageSums;
  days: { date: string; projects: (UsageSums & { projectId: string; models: ModelUsage[] })[] }[];
  next: string | null;
}

/** The end of a problem's `type`, and the client's own: no answer, or a job without a result. */
export type ProblemCode =
  | 'body-too-large'
  | 'body-too-slow'
  | 'budget-exceeded'
  | 'count-changed'
  | 'draining'
  | 'forbidden'
  | 'foreign-origin'
  | 'foreign-session'
  | 'head-too-large'
  | 'head-too-slow'
  | 'http-error'
  | 'idempotency-conflict'
  | 'identity-unavailable'
  | 'insufficient-scope'
  | 'internal-error'
  | 'invalid-request'
  | 'job-ended'
  | 'job-not-failed'
  | 'job-unreadable'
  | 'key-ended'
  | 'listing-off'
  | 'method-not-allowed'
  | 'misdirected-request'
  | 'model-not-allowed'
  | 'not-found'
  | 'not-live'
  | 'operators-only'
  | 'organization-limit'
  | 'organization-paused'
  | 'overloaded'
  | 'queue-full'
  | 'request-gone'
  | 'store-full'
  | 'store-quota'
  | 'store-unavailable'
  | 'store-unfit'
  | 'too-many-blocked-users'
  | 'too-many-project-budgets'
  | 'too-many-failures'
  | 'too-many-keys'
  | 'unauthorized'
  | 'unsupported-media-type'
  | 'user-blocked'
  | 'no-answer'
  | 'job-failed'
  | 'job-cancelled';

/** A refused or unanswered call. `code` says which; a later release of the service may have more of them. */
export class PressworkError extends Error {
  constructor(problem: object, options?: ErrorOptions);
  readonly type: string;
  readonly code: ProblemCode | (string & {});
  /** HTTP status; 0: there was no answer. */
  readonly status: number;
  readonly detail?: string;
  /** The bad fields of a request. */
  readonly errors: { field: string; message: string }[];
  readonly jobId?: string;
  readonly jobStatus?: string;
  /** The organization's limit that was reached. */
  readonly limit?: string;
  readonly retryAfterMs?: number;
}

/** A job that ended without its result. */
export class JobFailed extends PressworkError {
  readonly end: FailedEvent | CancelledEvent;
}
