// A page without a key, behind a server of its product that has one.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { completionFetch, PressworkChatTransport } from '../../src/ai-sdk.js';
import { Presswork } from '../../src/index.js';
import { createHandler, createTicket } from '../../src/server.js';
import { Chat, complete, storage, textOf } from '../support/sdk.js';
import { KEY, read, request, until, URL as SERVICE } from '../support/service.js';

const USERS = { ann: { userId: 'ann', projectId: 'blog' }, bob: { userId: 'bob', projectId: 'blog' } };
const server = new Presswork({ baseUrl: SERVICE, apiKey: KEY });
const handler = createHandler({ client: server, identify: (sent) => USERS[sent.headers.get('x-user')] });
let product;

// Serves the handler, and nothing else: streams go to the service itself.
before(async () => {
  product = http.createServer(async (sent, answer) => {
    const chunks = [];
    for await (const chunk of sent) chunks.push(chunk);
    const body = chunks.length ? Buffer.concat(chunks) : undefined;
    const url = `http://${sent.headers.host}${sent.url}`;
    const came = await handler[sent.method](new Request(url, { method: sent.method, headers: sent.headers, body }));
    answer.writeHead(came.status, Object.fromEntries(came.headers)).end(await came.text());
  });
  await new Promise((resolve) => product.listen(0, '127.0.0.1', resolve));
});
after(() => product.close());

const pageOf = (user, more = {}) =>
  new Presswork({
    baseUrl: `http://127.0.0.1:${product.address().port}`,
    headers: { 'x-user': user, ...more },
    retries: 1,
  });

test('a page submits, streams with a ticket and never sees the key', async () => {
  const job = await pageOf('ann').submit(request({ userId: 'bob' }));
  assert.ok(job.from.eventsUrl.includes('ticket='));
  assert.ok(!JSON.stringify(job.from).includes(KEY));
  const seen = await read(job.events());
  const view = await server.status(job.id);
  assert.equal(seen.text, view.result);
  assert.equal(view.userId, 'ann');
  assert.ok(!seen.kinds.includes('gap'));
});

test('a chat of such a page streams with a ticket, and so does a completion', async () => {
  const tab = storage();
  const client = pageOf('ann');
  const { prompt: text, ...body } = request();
  const chat = new Chat({ transport: new PressworkChatTransport({ client, body, storage: tab }) });
  const sent = chat.sendMessage({ text });
  await until(() => chat.answer?.parts.length);
  assert.ok(JSON.stringify([...tab.kept]).includes('ticket='));
  assert.ok(!JSON.stringify([...tab.kept]).includes(KEY));
  await sent;
  const view = await server.status(chat.answer.id);
  assert.deepEqual([textOf(chat.answer.parts), view.userId], [view.result, 'ann']);

  const { result } = await complete({ fetch: completionFetch({ client }), prompt: text, body });
  assert.ok(result.length > 100);
});

test('a page with an id alone gets a ticket of its own', async () => {
  const { id } = await pageOf('ann').submit(request());
  const job = pageOf('ann').job(id);
  const seen = await read(job.events());
  assert.ok(seen.deltas > 3);
  assert.equal(seen.text, (await server.status(id)).result);
});

test('a ticket that is none any more is replaced', async () => {
  const { from } = await pageOf('ann').submit(request());
  const stale = { ...from, eventsUrl: from.eventsUrl.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')) };
  const seen = await read(pageOf('ann').job(stale).events());
  assert.ok(seen.deltas > 3);
});

test("another user's job is not there", async () => {
  const job = await pageOf('ann').submit(request({ delaySeconds: 600 }));
  const foreign = pageOf('bob').job(job.id);
  for (const call of ['status', 'cancel', 'retry', 'result'])
    await assert.rejects(foreign[call](), { status: 404 }, call);
  await assert.rejects(pageOf('bob').ticket({ jobId: job.id }), { status: 404 });
  assert.equal(await job.cancel(), true);

  for (const odd of ['%ZZ', '%00', '..%2Fjobs', job.id.toUpperCase()]) {
    const address = `http://127.0.0.1:${product.address().port}/api/ai/jobs/${odd}/cancel`;
    const answer = await handler.POST(new Request(address, { method: 'POST', headers: { 'x-user': 'ann' } }));
    assert.equal(answer.status, 404, odd);
  }
});

test('without a sign-in, and from another site, nothing is done', async () => {
  await assert.rejects(pageOf('eve').submit(request()), { status: 401 });
  const address = `http://127.0.0.1:${product.address().port}/api/ai/generate-content`;
  const headers = { 'x-user': 'ann', 'sec-fetch-site': 'cross-site' };
  const answer = await handler.POST(new Request(address, { method: 'POST', headers, body: '{}' }));
  assert.equal(answer.status, 403);
});

test('problems of the service reach the page', async () => {
  await assert.rejects(pageOf('ann').submit(request({ temperature: 9 })), { code: 'invalid-request', status: 400 });
  await assert.rejects(pageOf('ann').stats(), { status: 404 });
});

test('a server with the key reads events and hands out tickets', async () => {
  const job = await server.submit(request({ ...USERS.ann }));
  const ticket = await createTicket({ baseUrl: SERVICE, apiKey: KEY }, { jobId: job.id });
  assert.ok(Date.parse(ticket.expiresAt) > Date.now());
  const seen = await read(new Presswork({ baseUrl: SERVICE }).job({ ...job.from, eventsUrl: ticket.events }).events());
  assert.equal(seen.text, (await job.result()).result);
  await until(async () => (await server.job(job.id).status()).status === 'completed');
  await assert.rejects(new Presswork({ baseUrl: SERVICE, retries: 0 }).status(job.id), {
    code: 'unauthorized',
    status: 401,
  });
});
