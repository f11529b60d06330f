// A job's events become a message of the AI SDK, as its own code builds it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as newest from 'ai';
import * as before from 'ai-before';
import { visibleParts } from '../../src/ai-sdk.js';
import { streamOf, turnsOf, uiChunks } from '../../src/ui-chunks.js';
import { textOf } from '../support/sdk.js';

const jobId = 'ai-job-1737465123456-0bc123def';
const of = (type, more) => ({ type, jobId, ...more });

const BEGUN = [of('queued', { createdAt: 'x' }), of('processing', { attempt: 1 }), of('delta', { text: 'lost' })];
const AGAIN = [of('retrying', { attempt: 1, reason: 'worker_lost' }), of('reset'), of('processing', { attempt: 2 })];
const WHOLE = [
  of('delta', { text: 'one ' }),
  of('delta', { text: 'two' }),
  of('completed', { attempt: 2, result: 'one two', provider: 'demo', model: 'demo', finishReason: 'stop' }),
];

async function* each(events) {
  yield* events;
}

async function chunksOf(events, options) {
  const found = [];
  for await (const chunk of uiChunks(jobId, each(events), options)) found.push(chunk);
  return found;
}

// The last state of a message that a release of the SDK makes of these events, and the errors that it reports.
async function messageOf(sdk, events) {
  const errors = [];
  let last;
  const stream = streamOf(uiChunks(jobId, each(events)), () => {});
  for await (const message of sdk.readUIMessageStream({ stream, onError: (error) => errors.push(error) })) last = message;
  return { ...last, errors };
}

for (const [name, sdk] of Object.entries({ newest, before })) {
  test(`${name}: a job is one message of one text`, async () => {
    const { id, role, parts, metadata } = await messageOf(sdk, [...BEGUN.slice(0, 2), ...WHOLE]);
    assert.deepEqual([id, role, textOf(parts)], [jobId, 'assistant', 'one two']);
    assert.deepEqual(metadata, {
      jobId,
      status: 'completed',
      attempt: 2,
      provider: 'demo',
      model: 'demo',
      finishReason: 'stop',
    });
  });

  test(`${name}: the text of a lost attempt is not visible`, async () => {
    const message = await messageOf(sdk, [...BEGUN, ...AGAIN, ...WHOLE]);
    assert.equal(textOf(visibleParts(message)), 'one two');
  });

  test(`${name}: a failed job is an error that has its end, after its text`, async () => {
    const end = of('failed', { attempt: 1, error: { type: 'Timeout', message: 'It took too long' } });
    const { parts, metadata, errors } = await messageOf(sdk, [...BEGUN, end]);
    assert.equal(textOf(parts), 'lost');
    assert.equal(metadata.status, 'failed');
    assert.deepEqual(
      errors.map(({ code, message, end: { type } }) => [code, message, type]),
      [['job-failed', 'It took too long', 'failed']],
    );
  });

  test(`${name}: a cancelled job keeps its text`, async () => {
    const { parts, metadata, errors } = await messageOf(sdk, [...BEGUN, of('cancelled', { attempt: 1 })]);
    assert.deepEqual([textOf(parts), metadata.status, errors], ['lost', 'cancelled', []]);
  });

  test(`${name}: every chunk is one that it knows`, async () => {
    const ends = [of('cancelled', {}), of('completed', { result: 'lost', finishReason: 'a word of its own' })];
    const all = [...(await chunksOf([...BEGUN, ...AGAIN, ...WHOLE])), ...(await chunksOf([...BEGUN, ends[0]]))];
    const { validate } = sdk.uiMessageChunkSchema();
    for (const chunk of [...all, ...(await chunksOf([...BEGUN, ends[1]]))]) {
      const known = name === 'newest' || chunk.type !== 'reset-step';
      assert.equal((await validate(chunk)).success, known, JSON.stringify(chunk));
    }
  });
}

test('the newest release keeps no part of a lost attempt', async () => {
  const { parts } = await messageOf(newest, [...BEGUN, ...AGAIN, ...WHOLE]);
  assert.equal(textOf(parts), 'one two');
});

test('a reader that cannot take text back gets an error that names the job', async () => {
  const chunks = uiChunks(jobId, each([...BEGUN, ...AGAIN, ...WHOLE]), { retract: false });
  const found = [];
  await assert.rejects(
    async () => {
      for await (const chunk of chunks) found.push(chunk);
    },
    ({ code, jobId: named, message }) => code === 'attempt-superseded' && named === jobId && message.includes(jobId),
  );
  assert.equal(found.at(-1).delta, 'lost');
  const none = [...BEGUN.slice(0, 2), ...AGAIN, ...WHOLE];
  assert.equal((await chunksOf(none, { retract: false })).at(-1).type, 'finish');
});

test('messages become turns of text', () => {
  const hidden = { type: 'text', text: 'lost', providerMetadata: { presswork: { superseded: true } } };
  const messages = [
    { id: '1', role: 'user', parts: [{ type: 'text', text: 'Name' }, { type: 'text', text: 'a fruit' }] },
    { id: '2', role: 'assistant', parts: [{ type: 'step-start' }, hidden, { type: 'text', text: 'Quince' }] },
    { id: '3', role: 'assistant', parts: [{ type: 'step-start' }, hidden] },
  ];
  assert.deepEqual(turnsOf(messages), [
    { role: 'user', content: 'Name\n\na fruit' },
    { role: 'assistant', content: 'Quince' },
  ]);
  const file = { id: '4', role: 'user', parts: [{ type: 'file', mediaType: 'image/png', url: 'data:,' }] };
  assert.throws(() => turnsOf([file]), { code: 'invalid-request', detail: 'remove the files from message 4' });
});
