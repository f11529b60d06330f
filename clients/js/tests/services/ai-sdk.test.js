// The transport and the fetch for Vercel's AI SDK, before the real service and with the SDK's own code.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DefaultChatTransport } from 'ai';
import { completionFetch, PressworkChatTransport } from '../../src/ai-sdk.js';
import { Presswork } from '../../src/index.js';
import { proxy } from '../support/proxy.js';
import { Chat, complete, storage, textOf } from '../support/sdk.js';
import { DEFAULTS, request, until, URL } from '../support/service.js';

const direct = new Presswork({ baseUrl: URL, defaults: DEFAULTS });
const { prompt: text, parameters } = request();

const ofItsOwn = () => ({ organizationId: `org-${Math.random().toString(36).slice(2)}` });

// A chat in a tab. `more`: options of the transport.
function chatOf({ id = 'chat', messages, ...more } = {}) {
  const transport = new PressworkChatTransport({ client: direct, body: { parameters }, storage: storage(), ...more });
  const errors = [];
  const chat = new Chat({ id, messages, transport, onError: (error) => errors.push(error) });
  return { chat, transport, errors };
}

const shown = (chat) => textOf(chat.answer?.parts ?? []);

// Results of all jobs of an organization.
async function resultsOf(own) {
  const { jobs } = await direct.list(own);
  return Promise.all(jobs.map(async ({ jobId }) => (await direct.status(jobId)).result));
}

const resultOf = async (chat) => (await direct.job(chat.answer.id).result()).result;

describe('a chat', { concurrency: 8 }, () => {
  test('its answer is a job whose text grows', async () => {
    const { chat } = chatOf();
    const sent = chat.sendMessage({ text });
    const texts = new Set();
    await until(() => texts.add(shown(chat)).size > 3);
    await sent;
    assert.deepEqual([chat.status, chat.error], ['ready', undefined]);
    assert.equal(shown(chat), await resultOf(chat));
    assert.equal(chat.answer.metadata.status, 'completed');
    assert.ok(chat.answer.metadata.usage.outputTokens > 0);
  });

  test('fields of a job come from the transport and from the message', async () => {
    const body = async () => ({ parameters, priority: 'low', metadata: { from: 'transport' } });
    const { chat } = chatOf({ body });
    await chat.sendMessage({ text }, { body: { priority: 'high' }, metadata: { from: 'message' } });
    const { priority, requestMetadata } = await direct.status(chat.answer.id);
    assert.deepEqual([priority, requestMetadata], ['high', { from: 'message' }]);
  });

  test('its stream is cut again and again: the text is equal', async () => {
    const cuts = [400, 3000, 900, 5000, 600, 7000, 2000, 1200];
    const between = await proxy(URL, ({ url }) => {
      if (url.includes('/job-status')) return { status: 403 };
      return url.includes('/job-events') && cuts.length ? { cut: cuts.pop() } : undefined;
    });
    const client = new Presswork({ baseUrl: between.url, defaults: DEFAULTS });
    while (cuts.length) {
      const { chat, errors } = chatOf({ client });
      await chat.sendMessage({ text });
      assert.equal(shown(chat), await resultOf(chat));
      assert.deepEqual(errors, []);
    }
    await between.close();
  });

  test('an abort stops reading alone, and the answer is read again from its start', async () => {
    const { chat } = chatOf();
    const sent = chat.sendMessage({ text });
    await until(() => shown(chat).length > 20);
    await chat.stop();
    await sent;
    const partial = shown(chat);
    await chat.resumeStream();
    assert.equal(shown(chat), await resultOf(chat));
    assert.ok(shown(chat).startsWith(partial));
    assert.equal(chat.messages.length, 2);
  });

  test('a reload in the middle goes on with the same answer, until its end was read', async () => {
    const kept = storage();
    const before = chatOf({ storage: kept });
    void before.chat.sendMessage({ text });
    await until(() => shown(before.chat).length > 20);
    const messages = structuredClone(before.chat.messages);
    await before.chat.stop();
    await new Promise((resolve) => setTimeout(resolve, 50)); // its reader has left

    const after = chatOf({ storage: kept, messages });
    await after.chat.resumeStream();
    assert.equal(shown(after.chat), await resultOf(after.chat));
    assert.equal(after.chat.messages.length, 2);
    assert.equal(kept.kept.size, 0);
    assert.equal(await after.transport.reconnectToStream({ chatId: 'chat' }), null);
  });

  test('a reload before the answer to a submit is one job', async () => {
    const own = ofItsOwn();
    let lost = true;
    const between = await proxy(URL, () => (lost ? { hold: true } : undefined));
    const client = new Presswork({ baseUrl: between.url, defaults: { ...DEFAULTS, ...own } });
    const kept = storage();
    const before = chatOf({ client, storage: kept });
    void before.chat.sendMessage({ text });
    await until(async () => (await direct.list(own)).jobs.length);
    await before.chat.stop();
    lost = false;

    const after = chatOf({ client, storage: kept });
    await after.chat.resumeStream();
    assert.deepEqual(await resultsOf(own), [shown(after.chat)]);
    await between.close();
  });

  test('stop cancels the job, and its text so far stays', async () => {
    const { chat, transport, errors } = chatOf();
    const sent = chat.sendMessage({ text });
    await until(() => shown(chat).length > 20);
    assert.equal(await transport.stop('chat'), true);
    await sent;
    const { status, result } = await direct.status(chat.answer.id);
    assert.deepEqual([chat.status, status, shown(chat)], ['ready', 'cancelled', result]);
    assert.equal(chat.answer.metadata.status, 'cancelled');
    assert.deepEqual(errors, []);
    assert.equal(await transport.stop('chat'), false);
  });

  test('stop before the answer to a submit cancels too, and so does one after a reload', async () => {
    const own = ofItsOwn();
    const kept = storage();
    const client = new Presswork({ baseUrl: URL, defaults: { ...DEFAULTS, ...own } });
    const before = chatOf({ client, storage: kept, body: { delaySeconds: 600 } });
    void before.chat.sendMessage({ text });
    await until(() => kept.kept.size);
    assert.equal(await before.transport.stop('chat'), true);
    await until(() => before.chat.status === 'ready');

    void before.chat.sendMessage({ text });
    await until(async () => (await direct.list(own)).jobs.length === 2);
    await before.chat.stop();
    assert.equal(await chatOf({ client, storage: kept }).transport.stop('chat'), true);
    const { jobs } = await direct.list(own);
    assert.deepEqual(
      jobs.map(({ status }) => status),
      ['cancelled', 'cancelled'],
    );
  });

  test('errors of a call and of a job are those of the client', async () => {
    const { chat, transport } = chatOf();
    await chat.sendMessage({ text }, { body: { temperature: 9 } });
    assert.deepEqual([chat.status, chat.error.code], ['error', 'invalid-request']);
    assert.equal(await transport.reconnectToStream({ chatId: 'chat' }), null);
    await chat.sendMessage({ text }, { body: { timeoutSeconds: 1, maxAttempts: 1 } });
    assert.deepEqual([chat.status, chat.error.code, chat.error.end.type], ['error', 'job-failed', 'failed']);
    assert.equal(await transport.reconnectToStream({ chatId: 'chat' }), null);
  });

  test('a job that is gone is no stream', async () => {
    const kept = storage();
    kept.setItem('presswork:chat:chat', JSON.stringify({ jobId: 'ai-job-1737465123456-0bc123def' }));
    const { transport } = chatOf({ storage: kept });
    assert.equal(await transport.reconnectToStream({ chatId: 'chat' }), null);
    assert.equal(kept.kept.size, 0);
  });

  test('it works with an asynchronous storage, and with none', async () => {
    const { kept, ...tab } = storage();
    const later = Object.fromEntries(Object.entries(tab).map(([name, act]) => [name, async (...all) => act(...all)]));
    for (const one of [later, null, undefined]) {
      const { chat } = chatOf({ storage: one });
      const sent = chat.sendMessage({ text });
      await until(() => shown(chat).length > 20);
      await chat.stop();
      assert.equal(kept.size, one ? 1 : 0);
      await chat.resumeStream();
      assert.equal(shown(chat), await resultOf(chat));
      await sent;
    }
    assert.equal(kept.size, 0);
  });
});

describe("the service's own stream", { concurrency: 4 }, () => {
  const bare = new DefaultChatTransport({
    prepareReconnectToStreamRequest: ({ id }) => ({ api: `${URL}/api/ai/job-events?format=ai-sdk&jobId=${id}` }),
  });

  test("is the same message to the SDK's own transport", async () => {
    const { id } = await direct.submit(request());
    const chat = new Chat({ id, transport: bare });
    await chat.resumeStream();
    assert.equal(chat.status, 'ready');
    assert.equal(shown(chat), (await direct.status(id)).result);
    assert.deepEqual([chat.answer.id, chat.answer.metadata.status], [id, 'completed']);
  });

  test('is a completion without the package', async () => {
    const api = `${URL}/api/ai/completion`;
    const own = ofItsOwn();
    const seen = await complete({ api, prompt: text, body: { ...DEFAULTS, ...own, parameters } });
    assert.ok(seen.texts.length > 3);
    assert.deepEqual(await resultsOf(own), [seen.texts.at(-1)]);
  });
});

describe('a completion', { concurrency: 4 }, () => {
  test('is a job whose text grows', async () => {
    const seen = await complete({ fetch: completionFetch({ client: direct }), prompt: text, body: { parameters } });
    assert.ok(seen.texts.length > 3);
    assert.equal(seen.error, undefined);
    const own = ofItsOwn();
    const other = await complete({ fetch: completionFetch({ client: direct }), prompt: text, body: own });
    assert.deepEqual(await resultsOf(own), [other.texts.at(-1)]);
  });

  test('its stop cancels the job, also before the answer to its submit', async () => {
    for (const letters of [20, 0]) {
      const own = ofItsOwn();
      const fetch = completionFetch({ client: direct });
      const stopAt = (soFar) => soFar.length >= letters;
      const seen = await complete({ fetch, prompt: text, body: { ...own, parameters }, stopAt });
      assert.equal(seen.result, null);
      assert.equal(seen.error, undefined);
      await until(async () => (await direct.list(own)).jobs[0]?.status === 'cancelled');
    }
  });

  test('errors are those of the client', async () => {
    const fetch = completionFetch({ client: direct });
    const refused = await complete({ fetch, prompt: text, body: { temperature: 9 } });
    assert.equal(refused.error.code, 'invalid-request');
  });
});
