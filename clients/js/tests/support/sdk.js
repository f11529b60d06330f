// The parts of Vercel's AI SDK that a page uses, without a page: its own state machine of a chat, and of a completion.

import { AbstractChat, callCompletionApi } from 'ai';

// A chat as `useChat` keeps it. `transport` as there; `messages`: those of before.
export class Chat extends AbstractChat {
  constructor({ messages = [], ...options }) {
    super({ ...options, state: new State(messages) });
  }

  // The text of the last answer, as it is shown.
  get answer() {
    return this.messages.findLast(({ role }) => role === 'assistant');
  }
}

class State {
  status = 'ready';
  error = undefined;

  constructor(messages) {
    this.messages = messages;
  }

  pushMessage(message) {
    this.messages = [...this.messages, message];
  }

  popMessage() {
    this.messages = this.messages.slice(0, -1);
  }

  replaceMessage(index, message) {
    this.messages = this.messages.with(index, this.snapshot(message));
  }

  snapshot(value) {
    return structuredClone(value);
  }
}

export const textOf = (parts) => parts.map(({ text }) => text ?? '').join('');

// A storage of one tab.
export function storage() {
  const kept = new Map();
  return {
    kept,
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => void kept.set(name, value),
    removeItem: (name) => void kept.delete(name),
  };
}

// What `useCompletion` makes of a prompt: `texts` that it showed, what it returned, its error. `stopAt`: whether it is
// stopped at this text.
export async function complete({ api = '/unused', prompt, fetch, body = {}, stopAt = () => false }) {
  const seen = { texts: [], result: undefined, error: undefined };
  let controller;
  seen.result = await callCompletionApi({
    api,
    prompt,
    body,
    fetch,
    setCompletion: (text) => {
      seen.texts.push(text);
      if (stopAt(text)) setTimeout(() => controller.abort());
    },
    setLoading: () => {},
    setError: (error) => (seen.error = error),
    setAbortController: (made) => (controller = made ?? controller),
  });
  return seen;
}
