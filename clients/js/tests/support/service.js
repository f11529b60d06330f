// The services that a test of Python started: their addresses are in the environment.

export const URL = process.env.PRESSWORK_URL;
export const KEY = process.env.PRESSWORK_KEY;
export const DEFAULTS = { projectId: 'project-123', userId: 'user-456', organizationId: 'org-789' };

export const request = (more = {}) => ({
  prompt: `Write a post about product ${Math.random()}`,
  parameters: { tone: 'professional', length: 'long', platform: 'linkedin' },
  ...more,
});

// Collects the events of a job as a reader sees them that knows `delta` and `reset` alone.
export async function read(events, onEvent = () => {}) {
  const seen = { text: '', kinds: [], deltas: 0 };
  for await (const event of events) {
    seen.kinds.push(event.type);
    if (event.type === 'reset') seen.text = '';
    if (event.type === 'delta') {
      seen.text += event.text;
      seen.deltas += 1;
    }
    seen.end = event;
    await onEvent(event, seen);
  }
  return seen;
}

export async function until(condition, seconds = 20) {
  const last = Date.now() + 1000 * seconds;
  while (!(await condition())) {
    if (Date.now() > last) throw new Error(`not within ${seconds} s: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
