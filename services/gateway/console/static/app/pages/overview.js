// Overview: what the queue does now, and what is wrong, in words.

import { useEffect, useState } from 'preact/hooks';
import { html } from '../html.js';
import { optional } from '../api.js';
import { Chart, Legend } from '../chart.js';
import { compact, count, plural, seconds, span, time, until, usd, words } from '../format.js';
import { Icon } from '../icons.js';
import { useOverview } from '../overview_feed.js';
import { Fallback, PageHead, Stale } from '../parts.js';
import { useReading } from '../refresh.js';
import { href } from '../router.js';
import { can, isOperator } from '../session.js';

const KEPT = 600;
const SLOWLY_MS = 15000;
const LITTLE_S = 10;

// Readings of this page since it was opened; they outlive a change of the page.
const curve = { times: [], queued: [], processing: [], ended: [] };

export default function Overview() {
  const reading = useOverview(({ stats, timestamp }) => remember(stats, timestamp));
  const slow = useReading(async (signal) => {
    if (!can('admin')) return {};
    const from = new Date(Date.now() - 86400000).toISOString();
    const [failures, gates] = await Promise.all([optional('api/admin/failures', { groupBy: 'errorType', from }, signal), optional('api/admin/gates', {}, signal)]);
    return { failures, gates };
  }, [], { every: SLOWLY_MS });
  if (!reading.value) return html`<div class="page scrolls"><${PageHead} title="Overview" /><${Fallback} reading=${reading} icon="overview" what="Counts of the queue" /></div>`;

  const { stats, timestamp } = reading.value;
  return html`
    <div class="page scrolls">
      <${PageHead} title="Overview" lead=${`Counts of ${time(timestamp)}${isOperator.value ? ', of the whole fleet' : ', of your organisation'}.`}>
        ${can('jobs:write') && html`<a class="button primary" href=${href('submit')}><${Icon} name="plus" />New job</a>`}
      <//>
      <${Stale} reading=${reading} />
      <div class="page-body stack">
        <${Tiles} stats=${stats} />
        <${Wrong} stats=${stats} more=${slow.value ?? {}} />
        ${reading.value.hours && html`<${Figures} overview=${reading.value} />`}
        <${Curves} hours=${reading.value.hours} />
        ${reading.value.redis && isOperator.value && html`<${Commands} redis=${reading.value.redis} budget=${reading.value.redisBudget} />`}
      </div>
    </div>`;
}

function remember(stats, timestamp) {
  const at = Date.parse(timestamp) / 1000;
  if (at <= (curve.times.at(-1) ?? 0)) return;
  curve.times.push(at);
  curve.queued.push(stats.queued);
  curve.processing.push(stats.processing);
  curve.ended.push(stats.completed + stats.failed + stats.cancelled);
  for (const values of Object.values(curve)) if (values.length > KEPT) values.shift();
}

// Jobs a minute that ended in the ten seconds or so before each reading.
function rates() {
  let before = 0;
  return curve.times.map((at, index) => {
    while (before < index - 1 && at - curve.times[before + 1] >= LITTLE_S) before += 1;
    const passed = at - curve.times[before];
    return passed > 0 ? Math.max(0, (curve.ended[index] - curve.ended[before]) / passed * 60) : null;
  });
}

const Tile = ({ name, dot, figure, beside, to }) => html`
  <a class="tile" href=${to}><div class="name"><span class=${`badge ${dot}`}><span class="dot"></span></span>${name}</div>
    <div class="figure" title=${count(figure)}>${compact(figure)}</div><div class="beside">${beside}</div></a>`;

function Tiles({ stats }) {
  const to = (status) => href('jobs', { status });
  const rate = rates().at(-1) ?? 0;
  return html`
    <div class="tiles">
      <${Tile} name="Queued" dot="hollow" figure=${stats.queued} beside=${stats.delayed ? `${compact(stats.delayed)} not due yet` : 'all are due'} to=${to('queued')} />
      <${Tile} name="Running" dot="blue" figure=${stats.processing} beside=${curve.times.length > 1 ? `${compact(Math.round(rate))} end a minute` : ''} to=${to('processing')} />
      ${stats.throttled != null && html`<${Tile} name="Throttled" dot="amber" figure=${stats.throttled} beside="wait for a provider" to=${can('admin') ? href('gates') : to('queued')} />`}
      <${Tile} name="Completed" dot="green" figure=${stats.completed} beside="" to=${to('completed')} />
      <${Tile} name="Failed" dot="red" figure=${stats.failed} beside=${shareOf(stats)} to=${can('admin') ? href('failures') : to('failed')} />
      <${Tile} name="Cancelled" dot="gray" figure=${stats.cancelled} beside="" to=${to('cancelled')} />
    </div>`;
}

const cause = (errorType) => words(errorType).toLowerCase();

function shareOf(stats) {
  const all = stats.completed + stats.failed;
  return all ? `${(stats.failed / all * 100).toFixed(1)} % of those that ended` : '';
}

function wrongs(stats, { failures, gates }) {
  const found = [];
  for (const gate of gates?.gates ?? []) {
    if (gate.state === 'available' || gate.state === 'slow_start') continue;
    const waiting = gate.waiting ? `; ${plural(gate.waiting, 'job waits', 'jobs wait')} for it` : '';
    found.push({ dot: gate.state === 'blocked' ? 'red' : 'amber', text: `${gate.gate} is ${words(gate.state)}${gate.until ? `, for ${until(gate.until)} more` : ''}${waiting}`, to: href('gates'), action: 'Show the gate' });
  }
  for (const group of (failures?.groups ?? []).slice(0, 4)) {
    found.push({ dot: 'red', text: `${plural(group.count, 'job')} failed in the last day: ${cause(group.errorType)}`, to: href('failures'), action: 'Show why' });
  }
  if (!gates && stats.throttled) found.push({ dot: 'amber', text: `${plural(stats.throttled, 'job waits', 'jobs wait')} for a provider that has no room`, to: href('jobs', { status: 'queued' }), action: 'Show them' });
  const { suspect = 0 } = stats.waiting ?? {};
  if (suspect) found.push({ dot: 'amber', text: `${plural(suspect, 'job')} lost two workers or more and ${suspect === 1 ? 'runs' : 'run'} apart from others`, to: href('jobs', { status: 'queued' }), action: 'Show them' });
  if (stats.queued > 20 && stats.processing === 0 && stats.backlog > 0) found.push({ dot: 'red', text: 'Jobs wait and none runs: is there a worker?', to: href('workers'), action: 'Show the workers' });
  if (!failures && stats.failed && stats.failed / Math.max(1, stats.failed + stats.completed) > 0.05) found.push({ dot: 'red', text: `${plural(stats.failed, 'job')} failed, of ${count(stats.failed + stats.completed)} that ended`, to: href('jobs', { status: 'failed' }), action: 'Show them' });
  return found;
}

function Wrong({ stats, more }) {
  const found = wrongs(stats, more);
  return html`
    <section class="card" aria-labelledby="wrong">
      <header><h2 id="wrong">What is wrong now</h2>${!found.length && html`<span class="badge pill green"><span class="dot"></span>Nothing</span>`}</header>
      ${found.length > 0 ? html`<ul class="wrongs">${found.map((one) => html`
        <li><span class=${`badge ${one.dot}`}><span class="dot"></span></span><span>${one.text}</span><a class="link nowrap" href=${one.to}>${one.action}</a></li>`)}</ul>`
    : html`<div class="inside muted">${stats.queued ? 'Jobs wait their turn, and run.' : stats.processing ? 'Jobs run, and none waits.' : 'No job waits, and none runs.'}</div>`}
    </section>`;
}

function Curves({ hours }) {
  const [, redraw] = useState(0);
  useEffect(() => { const timer = setInterval(() => { if (!document.hidden) redraw((value) => value + 1); }, 3000); return () => clearInterval(timer); }, []);
  const depth = [{ label: 'Queued', colour: 'amber-fill', values: curve.queued }, { label: 'Running', colour: 'blue-fill', values: curve.processing }];
  const pace = [{ label: 'Ended a minute', colour: 'green-fill', values: rates() }];
  const missing = (text) => html`<div class="muted chart-missing">${text}</div>`;
  const draw = (series, label) => (curve.times.length > 1 ? html`<${Chart} times=${curve.times} series=${series} height=${190} format=${compact} label=${label} />` : missing('The curve begins with the next reading.'));
  return html`
    <div class="columns">
      <section class="card"><header><h2>Waiting and running</h2><${Legend} series=${depth} /></header><div class="inside">${draw(depth, 'Jobs that wait and run, since this page was opened')}</div></section>
      <section class="card"><header><h2>Pace</h2><${Legend} series=${pace} /></header><div class="inside">${draw(pace, 'Jobs that ended a minute, since this page was opened')}</div></section>
      ${hours && [['Wait', 'waitSeconds', 'amber-fill'], ['Run', 'runSeconds', 'blue-fill']].map(([name, field, colour]) => html`<${Hours} name=${name} field=${field} colour=${colour} hours=${hours} missing=${missing} />`)}
    </div>`;
}

// How long jobs waited or ran, hour by hour over the last day.
function Hours({ name, field, colour, hours, missing }) {
  const known = hours.filter((hour) => hour[field]);
  const series = [
    { label: '95 %', colour, values: known.map((hour) => hour[field].p95) },
    { label: 'Median', colour: 'gray-fill', values: known.map((hour) => hour[field].p50) },
  ];
  return html`
    <section class="card"><header><h2>${name} times, last day</h2><${Legend} series=${series} /></header><div class="inside">
      ${known.length > 1 ? html`<${Chart} times=${known.map((hour) => Date.parse(hour.start) / 1000)} series=${series} height=${190} format=${seconds} label=${`${name} times of the jobs that ended in each hour of the last day, in seconds`} />`
    : missing(known.length ? 'The curve begins with the next hour.' : 'No job ended in the last day.')}</div></section>`;
}

// Figures of the fleet, which operators see.
function Figures({ overview }) {
  const tile = (name, figure, beside, to) => html`<${to ? 'a' : 'div'} class="tile" href=${to}><div class="name">${name}</div><div class="figure">${figure}</div><div class="beside">${beside}</div><//>`;
  const { failures, oldestAgeSeconds, spentTodayUsd, waitSeconds, runSeconds } = overview;
  const failed = failures.reduce((sum, one) => sum + one.count, 0);
  const causes = failures.slice(0, 2).map((one) => `${count(one.count)} ${cause(one.errorType)}`).join(', ');
  const most = (times) => (times ? `95 % within ${seconds(times.p95)}` : 'no job ended lately');
  return html`
    <div class="tiles">
      ${tile('Oldest waiting', oldestAgeSeconds ? span(oldestAgeSeconds * 1000) : '–', oldestAgeSeconds ? 'of those that could start' : 'none could start', href('jobs', { status: 'queued' }))}
      ${tile('Median wait', waitSeconds ? seconds(waitSeconds.p50) : '–', most(waitSeconds))}
      ${tile('Median run', runSeconds ? seconds(runSeconds.p50) : '–', most(runSeconds))}
      ${tile('Failed in the last hour', `${compact(failed)}${overview.allCounted ? '' : ' or more'}`, causes || 'none', href('failures'))}
      ${tile('Spent today', spentTodayUsd != null ? usd(spentTodayUsd) : '–', spentTodayUsd != null ? 'by jobs that ended, UTC' : 'no price is known', href('usage'))}
    </div>`;
}

const Commands = ({ redis, budget }) => html`
  <p class="muted small">This gateway sends ${redis.commandsPerDay == null ? `${count(redis.commands)} Redis commands in ${span(redis.measuredSeconds * 1000)} so far` : `about ${compact(redis.commandsPerDay)} Redis commands a day`}${budget && redis.commandsPerMonth != null ? `: ${(redis.commandsPerMonth / budget * 100).toFixed(1)} % of the ${compact(budget)} that a month may take` : budget ? `, of ${compact(budget)} that a month may take` : ''}.</p>`;
