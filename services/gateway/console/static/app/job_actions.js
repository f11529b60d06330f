// Cancels and retries of one or many jobs: each asks with a count first, and says afterwards what it did.

import { api } from './api.js';
import { confirm } from './dialog.js';
import { plural } from './format.js';
import { href } from './router.js';
import { can } from './session.js';
import { done, failed } from './toast.js';

const AT_ONCE = 4;

const WORDS = {
  cancel: { fits: (job) => job.status === 'queued' || job.status === 'processing', scope: 'jobs:cancel', verb: 'Cancel', past: 'Cancelled', why: 'had ended already' },
  retry: { fits: (job) => job.status === 'failed' || job.status === 'cancelled', scope: 'jobs:write', verb: 'Retry', past: 'Retried', why: 'could not be retried' },
  remove: { fits: () => true, scope: 'jobs:cancel', verb: 'Delete', past: 'Deleted', why: 'could not be deleted' },
};

export const may = (action) => can(WORDS[action].scope);
export const fitting = (action, jobs) => jobs.filter(WORDS[action].fits);

const call = {
  cancel: (job) => api.post(`api/ai/jobs/${job.jobId}/cancel`),
  retry: (job) => api.post(`api/ai/jobs/${job.jobId}/retry`),
  remove: (job) => api.remove(`api/ai/jobs/${job.jobId}`),
};

const TEXTS = {
  cancel: (count, running) => `${running ? `${plural(running, 'of them runs', 'of them run')} now and keeps the text that it has; the tokens are paid for. ` : ''}A cancelled job can be retried.`,
  retry: () => 'Each becomes one new job with the same request. A job that was retried before answers the job that it became.',
  remove: () => 'Text, prompt and events are deleted for good. A running job is cancelled first.',
};

// Resolves to the answers of the calls that succeeded, null when it was not confirmed.
export async function act(action, jobs) {
  const { verb, past, why } = WORDS[action];
  const able = fitting(action, jobs);
  const left = jobs.length - able.length;
  const running = able.filter((job) => job.status === 'processing').length;
  const sure = await confirm({
    title: `${verb} ${plural(able.length, 'job')}?`,
    text: `${TEXTS[action](able.length, running)}${left ? ` ${plural(left, 'other chosen job')} will be left as it is.` : ''}`,
    action: `${verb} ${plural(able.length, 'job')}`,
    danger: action !== 'retry',
  });
  if (!sure) return null;

  const answers = await each(able, call[action]);
  const good = answers.filter((one) => one.ok);
  const bad = answers.length - good.length;
  const jobId = action === 'retry' && good.length === 1 ? good[0].value.jobId : null;
  if (good.length) done(`${past} ${plural(good.length, 'job')}${bad ? `; ${bad} ${why}` : ''}.`, jobId && { href: href(`jobs/${jobId}`), text: 'Open the new job' });
  else failed(answers[0]?.error ?? `No job was ${past.toLowerCase()}`);
  return good.map((one) => one.value);
}

async function each(items, run) {
  const answers = [];
  const waiting = [...items];
  const lane = async () => {
    for (let item = waiting.shift(); item; item = waiting.shift()) {
      try {
        answers.push({ ok: true, value: await run(item) });
      } catch (error) {
        answers.push({ ok: false, error });
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return answers;
}
