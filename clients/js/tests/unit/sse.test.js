import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createParser } from 'eventsource-parser';
import { messages } from '../../src/sse.js';

const encoder = new TextEncoder();

async function* pieces(bytes, random) {
  for (let at = 0; at < bytes.length;) {
    const size = 1 + Math.floor(random() * 12);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function read(text, random = () => 0.5) {
  const found = [];
  for await (const message of messages(pieces(encoder.encode(text), random))) found.push(message);
  return found;
}

// A generator of numbers that is the same at every run (mulberry32).
function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

test('reads what eventsource-parser reads, however the bytes are cut', async () => {
  const random = seeded(7);
  const parts = [
    'data: Grüße 😀',
    'data:x',
    'data',
    'event: delta',
    'id: 1-1.2',
    'id',
    ': comment',
    'retry: 20',
    'retry: x',
    'odd',
    '',
    '',
    '',
  ];
  const ends = ['\n', '\r\n', '\r'];
  for (let round = 0; round < 300; round += 1) {
    const lines = Array.from({ length: 20 }, () => parts[Math.floor(random() * parts.length)]);
    const end = ends[round % ends.length];
    const text = `${[...lines, '', ''].join(end)}:${end}`;
    const wanted = [];
    const parser = createParser({ onEvent: ({ event, data }) => wanted.push({ event: event ?? 'message', data }) });
    parser.feed(text);
    const found = (await read(text, random))
      .filter(({ data }) => data !== undefined)
      .map(({ event, data }) => ({ event, data }));
    assert.deepEqual(found, wanted, JSON.stringify(text));
  }
});

test('an id without data moves the cursor, a retry alone is passed on, half an event is none', async () => {
  assert.deepEqual(await read('retry: 40\n\nid: 7\n\nid: 8\nevent: delta\ndata: {}\n\nid: 9\ndata: {"half"'), [
    { event: 'message', data: undefined, id: undefined, retry: 40 },
    { event: 'message', data: undefined, id: '7', retry: 40 },
    { event: 'delta', data: '{}', id: '8', retry: 40 },
  ]);
});
