// A program as an application writes it: it has to type-check.
import { JobFailed, Presswork, PressworkError, type Job, type JobEvent, type Progress } from '@presswork/client';
import { createHandler, createTicket } from '@presswork/client/server';

const presswork = new Presswork({
  baseUrl: 'https://api.example.com',
  apiKey: 'key',
  defaults: { projectId: 'p', userId: 'u' },
});

export async function all(signal: AbortSignal): Promise<string> {
  const job: Job = await presswork.submit(
    {
      prompt: 'Write',
      parameters: { tone: 'friendly', keywords: ['a', 'b'], emoji: true },
      metadata: { campaign: { id: 7 } },
    },
    { idempotencyKey: 'one', signal },
  );
  for await (const text of job.text({ signal, onAbort: 'cancel' })) console.log(text.length);
  for await (const event of job.events()) show(event);
  let stored: Progress | undefined;
  for await (const progress of job.progress()) stored = progress;
  await presswork.job(stored ?? job.id).cancel();
  const { result, usage } = await job.result();
  return `${result} ${usage?.outputTokens ?? 0}`;
}

function show(event: JobEvent): string {
  switch (event.type) {
    case 'queued':
      return event.createdAt;
    case 'processing':
      return String(event.attempt);
    case 'delta':
      return event.text;
    case 'reset':
      return event.jobId;
    case 'retrying':
      return event.reason;
    case 'gap':
      return event.status;
    case 'completed':
      return event.result;
    case 'failed':
      return event.error.message;
    case 'cancelled':
      return event.result ?? '';
    default: {
      const nothing: never = event;
      return nothing;
    }
  }
}

export function reason(error: unknown): string {
  if (error instanceof JobFailed) return error.end.type;
  if (error instanceof PressworkError && error.code === 'organization-limit') return error.limit ?? '';
  throw error;
}

export async function more(): Promise<void> {
  const made = await presswork.submitMany([{ prompt: 'a', idempotencyKey: 'k' }]);
  for (const one of made) if (!(one instanceof PressworkError)) await one.status({ wait: 20 });
  const { days } = await presswork.usage({ from: '2026-11-01' });
  console.log(days[0]?.projects[0]?.models[0]?.model, (await presswork.stats()).stats.waiting?.['high']);
  const { jobs, cursor } = await presswork.list({ status: 'failed', limit: 10 });
  console.log(jobs.length, cursor?.length, (await createTicket(presswork, { jobId: 'x' })).events);
}

export const { GET, POST } = createHandler({
  baseUrl: 'https://api.example.com',
  apiKey: 'key',
  identify: () => ({ userId: 'u' }),
});

// @ts-expect-error: a job needs a prompt
void presswork.submit({ parameters: {} });
// @ts-expect-error: there is no such priority
void presswork.submit({ prompt: 'x', priority: 'urgent' });
