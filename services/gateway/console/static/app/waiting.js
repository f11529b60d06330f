// Why a job waits, in words.

import { html } from './html.js';
import { Notice } from './parts.js';
import { href } from './router.js';
import { isOperator } from './session.js';
import { full, plural, span, until } from './format.js';

const left = (iso) => (iso ? html` <span title=${full(iso)}>In ${until(iso)}</span> it may go on.` : '');

const REASONS = {
  queued: ({ ahead }) => ['It waits for a free slot', ahead > 0 ? `${plural(ahead, 'job')} of its own organisation ${ahead === 1 ? 'is' : 'are'} before it.` : 'It is the next of its organisation.'],
  fair_share: ({ ahead }) => ['Other organisations have their turn', `Slots are shared fairly between all that wait.${ahead > 0 ? ` ${plural(ahead, 'job')} of its own organisation ${ahead === 1 ? 'is' : 'are'} before it.` : ''}`],
  delayed: ({ until: at }) => ['It is not due yet', left(at)],
  rate_limited: ({ gate, until: at }) => ['The provider asked to wait', html`${gate ? `${gate} accepts no more calls for now.` : ''}${left(at)}`],
  provider_down: ({ gate, until: at }) => ['The provider does not answer', html`Calls to ${gate ?? 'it'} failed in a row, so the whole fleet leaves it alone.${left(at)}`],
  paused: ({ gate }) => ['It is paused', gate ? `An operator paused ${gate}.` : 'An operator paused the queue or the organisation.'],
  budget: ({ until: at }) => ['The budget is used up', html`It goes on when the budget is raised or a new period begins.${left(at)}`],
  organization_limit: ({ gate, until: at }) => gate
    ? ['The organisation has used its tokens a minute', html`Its calls of ${gate} go on when these are paid.${left(at)}`]
    : ['The organisation runs as many jobs as it may', 'It goes on as soon as one of them ends.'],
};

export function WhyItWaits({ job }) {
  const { waiting } = job;
  if (waiting && REASONS[waiting.reason]) {
    const [title, text] = REASONS[waiting.reason](waiting);
    const isGate = waiting.gate && isOperator.value;
    return html`<${Notice} kind=${waiting.reason === 'queued' || waiting.reason === 'fair_share' ? 'blue' : 'amber'} icon="clock" title=${title}>${text} ${isGate && html`<a class="link" href=${href('gates')}>Show the gate</a>`}<//>`;
  }
  if (job.nextAttemptAt) {
    const due = Date.parse(job.nextAttemptAt) - Date.now();
    return html`<${Notice} kind="amber" icon="clock" title=${job.attempt ? 'It waits for its next attempt' : 'It may not run yet'}>${job.attempt ? '' : 'It was submitted for later, or its provider has no room. '}${due > 0 ? `In ${span(due)} it is tried${job.attempt ? ' again' : ''}.` : 'It is tried any moment.'}<//>`;
  }
  return html`<${Notice} kind="blue" icon="clock" title="It waits for a free slot">For ${span(Date.now() - Date.parse(job.createdAt))} so far.<//>`;
}
