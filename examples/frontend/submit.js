// Submits a job so that it is one job, however often it has to be sent.

import { pause, retryAfter } from './patience.js';
import { keep, recall } from './session.js';

const KEYS = 'presswork-key';
const TRIES = 4;

// Statuses of a service, or a proxy before it, that is away for now: sent again, as is a lost answer. All else is final.
const AGAIN = [502, 503, 504];

// The key under which this body is sent until its fate is known: also after a reload, and when the user tries again.
function keyOf(text) {
  const kept = recall(KEYS);
  if (kept?.text === text) return kept.key;
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
  keep(KEYS, { text, key });
  return key;
}

// The gateway's answer. An error's message is for the user; `report` gets messages before the answer.
export async function send(api, body, report) {
  const text = JSON.stringify(body);
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': keyOf(text) };
  for (let tries = 1; ; tries += 1) {
    const answer = await fetch(`${api}/api/ai/generate-content`, { method: 'POST', headers, body: text }).catch(() => null);
    const content = await answer?.json().catch(() => null);
    const accepted = answer?.ok && content?.jobId && content.links;
    const refused = answer && !answer.ok && !AGAIN.includes(answer.status);
    if (accepted || refused) keep(KEYS, null);
    if (accepted) return content;
    if (refused || tries === TRIES) {
      throw new Error([content?.title ?? reason(answer), content?.detail].filter(Boolean).join(': '));
    }
    report('The service does not answer; it is tried again');
    await pause(retryAfter(answer, tries));
  }
}

function reason(answer) {
  return answer ? `The service gave no answer that can be read (${answer.status})` : 'The service cannot be reached';
}
