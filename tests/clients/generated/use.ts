// Submits, waits and streams with the types that openapi-typescript made; prints one JSON line.
import { EventSourceParserStream } from 'eventsource-parser/stream';
import createClient from 'openapi-fetch';
import type { components, paths } from './api.js';

type JobEvent = components['schemas']['JobEvent'];

declare const process: { argv: string[] };

const [, , baseUrl, token] = process.argv;
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

const submitted = await client.POST('/api/ai/generate-content', {
  params: { header: { 'Idempotency-Key': 'generated' } },
  body: {
    projectId: 'project-123',
    userId: 'user-456',
    prompt: 'Write a post',
    parameters: { platform: 'linkedin', length: 'short', keywords: ['coffee', 'tea'] },
    metadata: { campaign: { id: 7 } },
  },
});
if (!submitted.data) throw new Error(submitted.error.title);
const { jobId } = submitted.data;

const events = await client.GET('/api/ai/job-events', { params: { query: { jobId } }, parseAs: 'stream' });
if (!events.data) throw new Error('no stream');
let text = '';
let end: string | undefined;
const messages = events.data.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
for await (const { event: kind, id, data } of messages) {
  const event = { event: kind, id, data: JSON.parse(data) } as JobEvent;
  if (event.event === 'processing') text = '';
  else if (event.event === 'delta') text += event.data.text;
  else if (event.event === 'completed') end = event.data.result;
  else if (event.event === 'failed') throw new Error(event.data.error.message);
}

const waited = await client.GET('/api/ai/job-status', { params: { query: { jobId, wait: 10 } } });
if (!waited.data) throw new Error(waited.error.title);
const refused = await client.GET('/api/ai/job-status', { params: { query: { jobId: `${jobId.slice(0, -1)}!` } } });
const problem: components['schemas']['ProblemType'] | undefined = refused.error?.type;

console.log(JSON.stringify({ jobId, text, end, status: waited.data.status, result: waited.data.result, problem }));
