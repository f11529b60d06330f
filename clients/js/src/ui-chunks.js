// A job's events as chunks of a message of Vercel's AI SDK (UI message stream, version 1). Pure.

import { JobFailed, PressworkError } from './errors.js';

const SUPERSEDED = { presswork: { superseded: true } };

// Fields of the end that become metadata of the message.
const OF_AN_END = ['attempt', 'provider', 'model', 'usage', 'costUsd', 'finishReason'];

// Finish reasons that the SDK knows; a provider's own word for another one stays in the metadata.
const KNOWN_REASONS = ['stop', 'length'];

// The chunks of a job whose events are read from its first one on. `retract`: the reader can take back the text of an
// attempt that was superseded; else they end there with an error that names the job. Throws JobFailed when it fails.
export async function* uiChunks(jobId, events, { retract = true } = {}) {
  let begun = false;
  let open = false;
  let part = 0;

  const write = function* (delta) {
    if (!open) yield { type: 'text-start', id: `text-${part}` };
    open = true;
    yield { type: 'text-delta', id: `text-${part}`, delta };
  };
  const close = function* (providerMetadata) {
    if (open) yield { type: 'text-end', id: `text-${part++}`, ...(providerMetadata && { providerMetadata }) };
    open = false;
  };

  for await (const event of events) {
    if (!begun) yield* startOf(jobId, event);
    begun = true;
    if (event.type === 'delta') yield* write(event.text);
    if (event.type === 'reset' && open) {
      if (!retract) throw lost(jobId);
      // A release of the SDK that does not know `reset-step` keeps the part, which `visibleParts` hides.
      yield* close(SUPERSEDED);
      yield { type: 'reset-step' };
    }
    if (ENDS[event.type]) {
      yield* close();
      yield { type: 'finish-step' };
      yield* ENDS[event.type](metadataOf(event), event);
    }
  }
}

function* startOf(jobId, { type }) {
  yield { type: 'start', messageId: jobId, messageMetadata: { jobId, status: type === 'queued' ? type : 'processing' } };
  yield { type: 'start-step' };
}

const ENDS = {
  *completed(messageMetadata, { finishReason = 'stop' }) {
    const known = KNOWN_REASONS.includes(finishReason) ? finishReason : 'other';
    yield { type: 'finish', finishReason: known, messageMetadata };
  },
  *cancelled(messageMetadata) {
    yield { type: 'message-metadata', messageMetadata };
    yield { type: 'abort', reason: 'The job was cancelled' };
  },
  *failed(messageMetadata, event) {
    yield { type: 'message-metadata', messageMetadata };
    throw new JobFailed(event);
  },
};

function metadataOf(event) {
  const known = OF_AN_END.filter((name) => event[name] !== undefined).map((name) => [name, event[name]]);
  return { jobId: event.jobId, status: event.type, ...Object.fromEntries(known) };
}

// Chunks as a stream that takes one only when it is read, so that an error drops none before it. `first`: what was taken
// already. `leave` is called when its reader leaves.
export function streamOf(chunks, leave, first) {
  let taken = first;
  const pull = async (controller) => {
    const { done, value } = taken ?? (await chunks.next());
    taken = undefined;
    if (done) controller.close();
    else controller.enqueue(value);
  };
  return new ReadableStream({ pull, cancel: leave }, { highWaterMark: 0 });
}

// A message's parts without those of superseded attempts.
export const visibleParts = (message) => message.parts.filter((part) => !part.providerMetadata?.presswork?.superseded);

// Messages of the SDK as those of a job, which are text. Throws a PressworkError at a file.
export function turnsOf(messages) {
  return messages.flatMap((message) => {
    const parts = visibleParts(message);
    if (parts.some(({ type }) => type === 'file')) throw noText(message);
    const texts = parts.filter(({ type, text }) => type === 'text' && text).map(({ text }) => text);
    return texts.length ? [{ role: message.role, content: texts.join('\n\n') }] : [];
  });
}

const lost = (jobId) =>
  new PressworkError({
    title: `The attempt that wrote this text was lost; job ${jobId} goes on, and has the whole text at its end`,
    code: 'attempt-superseded',
    jobId,
  });

const noText = ({ id }) =>
  new PressworkError({
    title: 'A job takes messages of text alone',
    detail: `remove the files from message ${id}`,
    code: 'invalid-request',
  });
