// Text arrives whole and once, whatever lies between client and service.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Presswork } from '../../src/index.js';
import { proxy } from '../support/proxy.js';
import { DEFAULTS, read, request, until, URL } from '../support/service.js';

const CUTS = 50;
const direct = new Presswork({ baseUrl: URL, defaults: DEFAULTS });

const isStream = ({ url }) => url.includes('/job-events');

// A client behind a proxy; streams go through it too.
async function behind(decide) {
  const between = await proxy(URL, decide);
  return { ...between, client: new Presswork({ baseUrl: between.url, defaults: DEFAULTS }) };
}

describe('streams', { concurrency: 8 }, () => {
  test('events, text and result of a job agree', async () => {
    const job = await direct.submit(request());
    const texts = [];
    const [seen, end] = await Promise.all([
      read(job.events()),
      job.result(),
      (async () => {
        for await (const text of job.text()) texts.push(text);
      })(),
    ]);
    assert.equal(seen.text, end.result);
    assert.equal(texts.at(-1), end.result);
    assert.ok(texts.length > 3);
    texts.reduce((before, text) => (assert.ok(text.startsWith(before)), text), '');
    assert.deepEqual(seen.kinds.slice(0, 2), ['queued', 'processing']);
    assert.equal(seen.end.type, 'completed');
    assert.ok(seen.end.usage.outputTokens > 0);
  });

  test(`${CUTS} random cuts: the text is equal`, async () => {
    let cuts = 0;
    const { client, close } = await behind((sent) => {
      if (sent.url.includes('/job-status')) return { status: 403 };
      if (!isStream(sent)) return undefined;
      cuts += 1;
      return { cut: Math.floor(Math.random() ** 3 * 8000) };
    });
    const follow = async () => {
      while (cuts < CUTS) {
        const job = await client.submit(request());
        const seen = await read(job.events());
        assert.equal(seen.text, (await direct.status(job.id)).result);
        assert.equal(seen.kinds.filter((kind) => kind === 'completed').length, 1);
        assert.ok(!seen.kinds.includes('gap'));
      }
    };
    await Promise.all(Array.from({ length: 6 }, follow));
    await close();
  });

  test('a reload goes on at the stored cursor', async () => {
    const job = await direct.submit(request());
    let stored;
    for await (const progress of job.progress()) {
      stored = JSON.stringify(progress);
      if (progress.text.length > 40) break;
    }
    const again = new Presswork({ baseUrl: URL }).job(JSON.parse(stored));
    const seen = await read(again.events());
    const { result } = await direct.status(job.id);
    assert.equal(JSON.parse(stored).text + seen.text, result);
    assert.ok(!seen.kinds.includes('queued'));
  });

  test('a job that had ended before the reload is not asked for again', async () => {
    const job = await direct.submit(request());
    let last;
    for await (const progress of job.progress()) last = progress;
    const cut = new Presswork({ baseUrl: 'http://127.0.0.1:1' });
    assert.equal((await cut.job(last).result()).result, last.text);
  });

  test('a cursor that is lost is a gap, and the text is whole', async () => {
    const job = await direct.submit(request());
    await until(async () => (await job.status()).status === 'processing');
    const seen = await read(direct.job({ ...job.from, cursor: '1-1.7', text: 'Something else' }).events());
    assert.ok(seen.kinds.includes('gap'));
    assert.ok(seen.kinds.includes('reset'));
    assert.equal(seen.text, (await direct.status(job.id)).result);
  });

  for (const [name, fate] of [
    ['a page of a proxy', { status: 200, body: '<html>Sign in</html>' }],
    ['502', { status: 502, body: 'Bad gateway' }],
    ['403', { status: 403 }],
    ['a stream that is cut at once', { cut: 0 }],
    ['no byte of a stream', { hold: true }],
  ]) {
    test(`polls where streams are blocked: ${name}`, { timeout: 90_000 }, async () => {
      const { client, close } = await behind((sent) => (isStream(sent) ? fate : undefined));
      const job = await client.submit(request());
      const seen = await read(job.events());
      assert.equal(seen.text, (await direct.status(job.id)).result);
      assert.equal(seen.end.type, 'completed');
      await close();
    });
  }

  test('streams again once they work', async () => {
    let refused = 0;
    const { client, close } = await behind((sent) => (isStream(sent) && refused++ < 2 ? { status: 502 } : undefined));
    const job = await client.submit(request({ delaySeconds: 1 }));
    const seen = await read(job.events());
    assert.equal(seen.text, (await direct.status(job.id)).result);
    await close();
  });

  test('a job that is not there is an error', async () => {
    const nothing = direct.job('ai-job-1737465123456-0bc123def');
    await assert.rejects(nothing.result(), { name: 'PressworkError', code: 'not-found', status: 404 });
  });

  test('an abort detaches: the job goes on', async () => {
    const job = await direct.submit(request());
    const leaving = new AbortController();
    const reading = read(
      job.events({ signal: leaving.signal }),
      ({ type }) => type === 'delta' && leaving.abort(new Error('left')),
    );
    await assert.rejects(reading, /left/);
    assert.equal((await job.status({ wait: 30 })).status, 'completed');
  });

  test('an abort cancels, when it is to', async () => {
    const job = await direct.submit(request());
    const leaving = new AbortController();
    const reading = read(
      job.events({ signal: leaving.signal, onAbort: 'cancel' }),
      ({ type }) => type === 'delta' && leaving.abort(),
    );
    await assert.rejects(reading, { name: 'AbortError' });
    assert.equal((await job.status({ wait: 30 })).status, 'cancelled');
    await assert.rejects(job.result(), { name: 'JobFailed', code: 'job-cancelled' });
    assert.equal(await job.cancel(), true);
    const again = await job.retry();
    assert.equal((await again.retry().catch((error) => error)).code, 'job-not-failed');
    assert.equal(typeof (await again.result()).result, 'string');
  });
});
