// A transport for `useChat` of Vercel's AI SDK: each answer is a job. An abort only stops reading, for React aborts when
// nobody pressed stop; `stop` cancels.

import { Presswork } from './client.js';
import { JobFailed } from './errors.js';
import { follower, unlessAborted } from './signals.js';
import { streamOf, turnsOf, uiChunks } from './ui-chunks.js';

const PREFIX = 'presswork:chat:';

export class PressworkChatTransport {
  #client;
  #body;
  #kept;

  // Chat id to the last answer of the chat, `{ job }` with a promise, until its end was read.
  #answers = new Map();

  // `storage` keeps each chat's job over a reload, or a request without an answer yet; null: nothing does.
  constructor({ client = new Presswork(), body, storage } = {}) {
    this.#client = client;
    this.#body = body;
    this.#kept = new Kept(storage);
    // For the SDK: a stream that is resumed brings its message from the start.
    this.resumeStreamIsReplay = true;
  }

  async sendMessages({ chatId, messages, abortSignal, headers, body, metadata }) {
    const fields = typeof this.#body === 'function' ? await this.#body() : this.#body;
    const request = { ...fields, ...body, ...(metadata ? { metadata } : {}), messages: turnsOf(messages) };
    const wanted = { request, idempotencyKey: this.#client.newKey() };
    abortSignal?.throwIfAborted();
    await this.#kept.set(chatId, wanted);
    const answer = this.#begin(chatId, this.#submit(wanted, headers));
    const job = await unlessAborted(answer.job, abortSignal);
    const reading = follower(abortSignal);
    return streamOf(this.#chunks(chatId, answer, job, reading.signal), reading.leave);
  }

  // The chat's last answer from its start; null: its end was read before, or its job is gone.
  async reconnectToStream({ chatId, abortSignal }) {
    const answer = await unlessAborted(this.#find(chatId), abortSignal);
    if (!answer) return null;
    const job = await unlessAborted(answer.job, abortSignal);
    const reading = follower(abortSignal);
    const chunks = this.#chunks(chatId, answer, job, reading.signal);
    try {
      return streamOf(chunks, reading.leave, await chunks.next());
    } catch (error) {
      if (error.code === 'not-found') return null;
      throw error;
    }
  }

  // Cancels the chat's job: its stream ends with the text so far. False when none goes on.
  async stop(chatId) {
    const answer = await this.#find(chatId);
    const job = await answer?.job.catch(() => null);
    return job ? job.cancel() : false;
  }

  // An answer that this page began, or one that was kept before a reload: its request is sent again, as the same job.
  async #find(chatId) {
    const kept = this.#answers.has(chatId) ? null : await this.#kept.get(chatId);
    if (this.#answers.has(chatId)) return this.#answers.get(chatId);
    if (kept?.request) return this.#begin(chatId, this.#submit(kept));
    return kept?.jobId ? this.#begin(chatId, Promise.resolve(this.#client.job(kept))) : null;
  }

  #begin(chatId, job) {
    const answer = { job };
    this.#answers.set(chatId, answer);
    job.then(
      ({ from }) => this.#answers.get(chatId) === answer && this.#kept.set(chatId, from),
      () => this.#forget(chatId, answer),
    );
    return answer;
  }

  async #forget(chatId, answer) {
    if (this.#answers.get(chatId) !== answer) return;
    this.#answers.delete(chatId);
    await this.#kept.remove(chatId);
  }

  // No abort ends it: a job whose id never came could neither be read nor be cancelled.
  #submit({ request, idempotencyKey }, given) {
    const headers = Object.fromEntries(new Headers(given));
    return this.#client.submit(request, { idempotencyKey, headers });
  }

  async *#chunks(chatId, answer, job, signal) {
    try {
      yield* uiChunks(job.id, job.events({ signal }));
      await this.#forget(chatId, answer);
    } catch (error) {
      if (error instanceof JobFailed || error.code === 'not-found') await this.#forget(chatId, answer);
      throw error;
    }
  }
}

// Keeps the answers of chats over a reload. A storage that is full or forbidden forgets it.
class Kept {
  #storage;

  constructor(storage) {
    this.#storage = storage;
  }

  async get(chatId) {
    return this.#use(async (storage) => JSON.parse(await storage.getItem(PREFIX + chatId)));
  }

  set(chatId, value) {
    return this.#use((storage) => storage.setItem(PREFIX + chatId, JSON.stringify(value)));
  }

  remove(chatId) {
    return this.#use((storage) => storage.removeItem(PREFIX + chatId));
  }

  async #use(act) {
    try {
      return await act(this.#storage === undefined ? globalThis.sessionStorage : this.#storage);
    } catch {
      return null;
    }
  }
}
