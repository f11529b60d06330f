import type { ChatRequestOptions, ChatTransport, UIMessage, UIMessageChunk } from 'ai';
import type { JobRequest, JobStatus, Presswork, Usage } from './index.js';

/** Metadata of an answer, for `UIMessage<JobMetadata>`. All but the first two come with its end. */
export interface JobMetadata {
  jobId: string;
  status: JobStatus;
  attempt?: number;
  provider?: string;
  model?: string;
  usage?: Usage;
  /** USD of all attempts together; left out: not known. */
  costUsd?: number;
  /** `stop`, `length`, or the provider's own word. */
  finishReason?: string;
}

/** Fields of a job beside its messages. */
export type JobFields = Partial<Omit<JobRequest, 'prompt'>> & {
  /** For the model, beside those of the platform. */
  instructions?: string;
};

/** Of `sessionStorage`, or of one whose methods are asynchronous. */
export interface ChatStorage {
  getItem: (name: string) => string | null | Promise<string | null>;
  setItem: (name: string, value: string) => void | Promise<void>;
  removeItem: (name: string) => void | Promise<void>;
}

export interface ChatTransportOptions {
  /** Left out: one for the page's own origin. */
  client?: Presswork;
  /** Fields of every job; those of a message's own `body` win. */
  body?: JobFields | (() => JobFields | Promise<JobFields>);
  /** Keeps each chat's job over a reload, or a request without an answer yet. Left out: `sessionStorage`; null: nothing. */
  storage?: ChatStorage | null;
}

/**
 * A transport for `useChat`: each answer is a job, and is streamed through cuts, reloads and restarts. An abort, also
 * the `stop` of the hook, only stops reading; the `stop` of the transport cancels.
 */
export class PressworkChatTransport<Message extends UIMessage = UIMessage> implements ChatTransport<Message> {
  constructor(options?: ChatTransportOptions);
  readonly resumeStreamIsReplay: true;
  /** Throws a PressworkError, as its stream does; the stream of a job that failed throws JobFailed. */
  sendMessages(
    options: {
      trigger: 'submit-message' | 'regenerate-message';
      chatId: string;
      messageId: string | undefined;
      messages: Message[];
      abortSignal: AbortSignal | undefined;
    } & ChatRequestOptions,
  ): Promise<ReadableStream<UIMessageChunk>>;
  /** The chat's last answer from its start; null: its end was read before, or its job is gone. */
  reconnectToStream(
    options: { chatId: string; abortSignal?: AbortSignal } & ChatRequestOptions,
  ): Promise<ReadableStream<UIMessageChunk> | null>;
  /** Cancels the chat's job: its stream ends with the text so far. False when none goes on. */
  stop(chatId: string): Promise<boolean>;
}

/**
 * A `fetch` for `useCompletion`, whose `stop` then cancels the job; a closed tab cancels it too. After a lost attempt the
 * hook's error has the code `attempt-superseded` and the job's id: the job goes on. The hook's `api` is not asked.
 */
export function completionFetch(options?: { client?: Presswork }): typeof globalThis.fetch;

/** The parts of a message without those of superseded attempts. */
export function visibleParts<Part extends { type: string }>(message: { parts: Part[] }): Part[];
