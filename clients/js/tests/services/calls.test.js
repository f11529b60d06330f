// One job for one submit, and errors by their type.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { JobFailed, Presswork, PressworkError } from '../../src/index.js';
import { proxy } from '../support/proxy.js';
import { DEFAULTS, request, URL } from '../support/service.js';

const direct = new Presswork({ baseUrl: URL, defaults: DEFAULTS });
const isSubmit = ({ url }) => url.includes('/generate-content');

describe('calls', { concurrency: 8 }, () => {
  test('lost answers and a busy service make one job', async () => {
    const fates = [
      { drop: true },
      { status: 503, headers: { 'Retry-After': '0' } },
      { drop: true },
      { status: 200, body: '<html>' },
    ];
    const between = await proxy(URL, (sent) => (isSubmit(sent) ? fates.shift() : undefined));
    const again = [];
    const organizationId = `org-${Math.random().toString(36).slice(2)}`;
    const client = new Presswork({
      baseUrl: between.url,
      defaults: { ...DEFAULTS, organizationId },
      onRetry: (error) => again.push(error.code),
    });
    const job = await client.submit(request());
    assert.equal(again.length, 4);
    const { jobs } = await direct.list({ organizationId });
    assert.deepEqual(
      jobs.map(({ jobId }) => jobId),
      [job.id],
    );
    await between.close();
  });

  test('a service that is away is an error after the last try', async () => {
    const away = new Presswork({ baseUrl: 'http://127.0.0.1:1', retries: 1 });
    await assert.rejects(away.submit(request()), { name: 'PressworkError', code: 'no-answer', status: 0 });
  });

  test('a bad request names its fields and is not repeated', async () => {
    const error = await direct.submit(request({ temperature: 9 })).catch((refused) => refused);
    assert.ok(error instanceof PressworkError);
    assert.equal(error.code, 'invalid-request');
    assert.equal(error.type, 'urn:presswork:problem:invalid-request');
    assert.deepEqual(
      error.errors.map(({ field }) => field),
      ['temperature'],
    );
    assert.match(error.message, /temperature/);
  });

  test('a key with another body is a conflict', async () => {
    const idempotencyKey = direct.newKey();
    const first = await direct.submit(request({ prompt: 'one' }), { idempotencyKey });
    const second = await direct.submit(request({ prompt: 'one' }), { idempotencyKey });
    assert.equal(first.id, second.id);
    await assert.rejects(direct.submit(request({ prompt: 'two' }), { idempotencyKey }), {
      code: 'idempotency-conflict',
      status: 409,
    });
  });

  test('many jobs in one call, a bad one in its place', async () => {
    const [good, bad] = await direct.submitMany([request(), request({ temperature: 9 })]);
    assert.ok(bad instanceof PressworkError);
    assert.equal((await good.result()).type, 'completed');
  });

  test('a job that ended cannot be cancelled', async () => {
    const job = await direct.submit(request({ parameters: { length: 'short' } }));
    await job.result();
    assert.equal(await job.cancel(), false);
  });

  test('a job that fails says why', async () => {
    const job = await direct.submit(request({ delaySeconds: 1, deadlineSeconds: 1.001 }));
    const error = await job.result().catch((failed) => failed);
    if (error.type === 'completed') return; // a worker was that quick
    assert.ok(error instanceof JobFailed);
    assert.equal(error.code, 'job-failed');
    assert.equal(error.end.error.type, 'DeadlineExceeded');
  });

  test('stats and usage are answered', async () => {
    assert.equal((await direct.stats()).success, true);
    assert.equal(
      (await direct.usage({ organizationId: DEFAULTS.organizationId })).organizationId,
      DEFAULTS.organizationId,
    );
  });

  test('an abort ends a call that is repeated', async () => {
    const away = new Presswork({ baseUrl: 'http://127.0.0.1:1', retries: 50 });
    await assert.rejects(away.stats({ signal: AbortSignal.timeout(300) }), { name: 'TimeoutError' });
  });
});
