// Submits, waits and streams with the client that hey-api made; prints one JSON line.
import { jobEvents, jobStatus, submitJob, type JobEvent, type ProblemType } from './api';
import { client } from './api/client.gen';

declare const process: { argv: string[] };

const [, , baseUrl, token] = process.argv;
client.setConfig({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

const submitted = await submitJob({
  headers: { 'Idempotency-Key': 'generated' },
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

let text = '';
let end: string | undefined;
const { stream } = await jobEvents({
  query: { jobId },
  onSseEvent: ({ event: kind, id, data }) => {
    if (!kind) return;
    const event = { event: kind, id, data } as unknown as JobEvent;
    if (event.event === 'processing') text = '';
    else if (event.event === 'delta') text += event.data.text;
    else if (event.event === 'completed') end = event.data.result;
    else if (event.event === 'failed') throw new Error(event.data.error.message);
  },
});
for await (const _ of stream) if (end !== undefined) break;

const waited = await jobStatus({ query: { jobId, wait: 10 } });
if (!waited.data) throw new Error(waited.error.title);
const refused = await jobStatus({ query: { jobId: `${jobId.slice(0, -1)}!` } });
const problem: ProblemType | undefined = refused.error?.type;

console.log(JSON.stringify({ jobId, text, end, status: waited.data.status, result: waited.data.result, problem }));
