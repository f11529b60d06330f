// The hooks in React's own renderer, before the real service.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createElement, StrictMode } from 'react';
import { create } from 'react-test-renderer';
import { Presswork } from '../../src/index.js';
import { useGenerate, useJob } from '../../src/react.js';
import { DEFAULTS, request, until, URL } from '../support/service.js';

const client = new Presswork({ baseUrl: URL, defaults: DEFAULTS });

const kept = new Map();
globalThis.sessionStorage = {
  getItem: (name) => kept.get(name) ?? null,
  setItem: (name, value) => void kept.set(name, value),
  removeItem: (name) => void kept.delete(name),
};

// A mounted component that calls a hook, in StrictMode: each effect runs twice. `now` is what it returned last, `texts`
// all texts that it showed.
function mount(hook) {
  const shown = { texts: [], now: null };
  const Component = () => {
    shown.now = hook();
    if (shown.now.text !== shown.texts.at(-1)) shown.texts.push(shown.now.text);
    return null;
  };
  const root = create(createElement(StrictMode, null, createElement(Component)), { unstable_isConcurrent: true });
  return Object.assign(shown, { unmount: () => root.unmount() });
}

const mounted = async (hook) => {
  const shown = mount(hook);
  await until(() => shown.now);
  return shown;
};

test('useGenerate shows the text as it grows', async () => {
  const page = await mounted(() => useGenerate({ client }));
  assert.equal(page.now.status, 'idle');
  page.now.generate(request());
  await until(() => page.now.status === 'completed');
  const { result } = await client.status(page.now.jobId);
  assert.equal(page.now.text, result);
  assert.ok(page.texts.length > 3);
  assert.equal(page.now.busy, false);
  assert.equal(page.now.end.result, result);
  page.now.reset();
  await until(() => page.now.status === 'idle');
  page.unmount();
});

test('a reload goes on with the job of before', async () => {
  const hook = () => useGenerate({ client, storageKey: 'reload' });
  const before = await mounted(hook);
  before.now.generate(request());
  await until(() => before.now.text.length > 20);
  const { jobId } = before.now;
  before.unmount();
  const after = await mounted(hook);
  await until(() => after.now.status === 'completed');
  assert.equal(after.now.jobId, jobId);
  assert.equal(after.now.text, (await client.status(jobId)).result);
  after.unmount();
});

test('a reload before the answer to a submit is one job', async () => {
  const held = {
    request: request({ organizationId: `org-${Math.random().toString(36).slice(2)}` }),
    idempotencyKey: client.newKey(),
  };
  kept.set('sending', JSON.stringify(held));
  const first = await client.submit(held.request, held);
  const page = await mounted(() => useGenerate({ client, storageKey: 'sending' }));
  await until(() => page.now.status === 'completed');
  assert.equal(page.now.jobId, first.id);
  page.unmount();
});

test('useJob follows a job and cancels it', async () => {
  const job = await client.submit(request());
  const page = await mounted(() => useJob(job.id, { client }));
  await until(() => page.now.status === 'processing');
  assert.equal(await page.now.cancel(), true);
  await until(() => page.now.status === 'cancelled');
  page.unmount();
});

test('errors of a call and of a job are shown', async () => {
  const page = await mounted(() => useGenerate({ client }));
  page.now.generate(request({ temperature: 9 }));
  await until(() => page.now.error);
  assert.equal(page.now.error.code, 'invalid-request');
  assert.equal(page.now.status, 'idle');
  page.unmount();
  const none = await mounted(() => useJob('ai-job-1737465123456-0bc123def', { client }));
  await until(() => none.now.error);
  assert.equal(none.now.error.code, 'not-found');
  assert.equal(none.now.busy, false);
  none.unmount();
});
