import assert from 'node:assert/strict';
import { test } from 'node:test';
import { advance, begin, update } from '../../src/progress.js';

const jobId = 'ai-job-1737465123456-0bc123def';

// Every event and the last state of these messages.
function play(messages, from = begin(jobId)) {
  const events = [];
  let progress = from;
  for (const [kind, data, id] of messages) {
    for (const [event, next] of advance(progress, kind, { jobId, ...data }, id)) {
      events.push(event);
      progress = next;
    }
  }
  return { events, progress, shown: shownBy(events) };
}

// The text of a reader that knows `delta` and `reset` alone.
const shownBy = (events) =>
  events.reduce((text, { type, text: more }) => (type === 'reset' ? '' : type === 'delta' ? text + more : text), '');

const BEGUN = [
  ['queued', { status: 'queued', createdAt: 'x' }, '0-0.1'],
  ['processing', { status: 'processing', attempt: 1 }, '1-1.1'],
  ['delta', { text: 'Hello ' }, '1-1.2'],
];

test('deltas add up to the result', () => {
  const { progress, shown, events } = play([
    ...BEGUN,
    ['delta', { text: 'world' }, '1-1.3'],
    ['completed', { status: 'completed', result: 'Hello world' }, '1-1.4'],
  ]);
  assert.equal(shown, 'Hello world');
  assert.equal(progress.text, 'Hello world');
  assert.equal(progress.cursor, '1-1.4');
  assert.deepEqual(
    events.map(({ type }) => type),
    ['queued', 'processing', 'delta', 'delta', 'completed'],
  );
});

test('a new attempt makes the text void before anything moves the cursor', () => {
  const { events, progress } = play([
    ...BEGUN,
    ['retrying', { status: 'queued', reason: 'worker_lost', attempt: 1 }, '1-1.3'],
  ]);
  assert.equal(progress.note, 'worker_lost');
  assert.equal(progress.text, 'Hello ');
  const pairs = advance(progress, 'processing', { jobId, status: 'processing', attempt: 2 }, '2-2.1');
  assert.deepEqual(
    pairs.map(([{ type }, { cursor, text }]) => [type, cursor, text]),
    [
      ['reset', '1-1.3', ''],
      ['processing', '2-2.1', ''],
    ],
  );
  assert.equal(events.at(-1).type, 'retrying');
});

test('a gap is followed by what makes the text whole', () => {
  const more = play([...BEGUN, ['gap', { status: 'processing', attempt: 1, text: 'Hello wor' }]]);
  assert.equal(more.shown, 'Hello wor');
  assert.equal(more.progress.cursor, '1-1.2');
  assert.ok(!more.events.some(({ type }) => type === 'reset'));
  const other = play([
    ...BEGUN,
    ['gap', { status: 'processing', attempt: 2, text: 'Good' }],
    ['delta', { text: ' day' }, '2-2.3'],
  ]);
  assert.equal(other.shown, 'Good day');
});

test('the gap of an ended job is not its end', () => {
  const { progress, shown } = play([...BEGUN, ['gap', { status: 'completed', attempt: 1 }]]);
  assert.equal(progress.status, 'processing');
  assert.equal(shown, 'Hello ');
  const done = play([['completed', { status: 'completed', result: 'Hello world' }, '1-1.9']], progress);
  assert.equal(done.progress.text, 'Hello world');
  assert.equal(done.events.filter(({ type }) => type === 'delta')[0].text, 'world');
});

test('an end whose text is another one replaces the text', () => {
  const { shown, progress } = play([...BEGUN, ['cancelled', { status: 'cancelled', result: 'Other' }, '1-1.9']]);
  assert.equal(shown, 'Other');
  assert.equal(progress.end.type, 'cancelled');
});

test('a poll shows the status and the end, and nothing of another job', () => {
  const { progress } = play(BEGUN);
  assert.equal(update(progress, { jobId: 'other', status: 'completed', result: 'x' }), null);
  assert.equal(update(progress, { jobId, status: 'broken' }), null);
  assert.deepEqual(update(progress, { jobId, status: 'processing' }), []);
  const pairs = update(progress, { jobId, status: 'completed', result: 'Hello world', attempt: 1, userId: 'u' });
  assert.deepEqual(
    pairs.map(([{ type }]) => type),
    ['delta', 'completed'],
  );
  assert.deepEqual(pairs.at(-1)[0], { type: 'completed', jobId, attempt: 1, result: 'Hello world' });
});
