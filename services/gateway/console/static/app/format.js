// Numbers, times and names as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const dayOfYear = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
const exact = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

export const count = (number) => (number == null ? '–' : whole.format(number));
export const compact = (number) => (number == null ? '–' : number < 10000 ? whole.format(number) : short.format(number));
export const plural = (number, one, many = `${one}s`) => `${whole.format(number)} ${number === 1 ? one : many}`;

// USD: cents for sums, as many digits as matter for the cost of one job.
export function usd(amount) {
  if (amount == null) return '–';
  if (amount === 0) return '$0';
  if (Math.abs(amount) >= 1) return `$${amount.toLocaleString('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  const size = Math.abs(amount);
  const digits = size >= 0.1 ? { minimumFractionDigits: 2, maximumFractionDigits: 2 } : { maximumSignificantDigits: 2 };
  return `$${amount.toLocaleString('en', digits)}`;
}

// A time span in ms.
export function span(ms) {
  if (ms == null || Number.isNaN(ms)) return '–';
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export const seconds = (number) => span(number == null ? null : number * 1000);

// How long ago, in one unit.
export function ago(iso, now = Date.now()) {
  if (!iso) return '–';
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000);
  if (seconds < 5) return 'now';
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  if (seconds < 86400 * 30) return `${Math.floor(seconds / 86400)} d`;
  return date(iso);
}

// The same as a phrase.
export const since = (iso) => (ago(iso) === 'now' ? 'just now' : `${ago(iso)} ago`);

// A message as a sentence.
export const sentence = (text) => (text ? text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.') : '');

// How long until then.
export const until = (iso, now = Date.now()) => span(Math.max(0, Date.parse(iso) - now));
export const between = (from, to) => (from && to ? span(Date.parse(to) - Date.parse(from)) : '–');
export const time = (iso) => (iso ? clock.format(new Date(iso)) : '–');
export const full = (iso) => (iso ? exact.format(new Date(iso)) : '');

export function date(iso) {
  if (!iso) return '–';
  const when = new Date(iso);
  return (when.getFullYear() === new Date().getFullYear() ? day : dayOfYear).format(when);
}

// The part of a job's id that people compare.
export const shortId = (jobId) => jobId.replace(/^ai-job-/, '').replace(/^\d+-/, '');
export const words = (name) => name.replace(/_/g, ' ').replace(/([a-z])([A-Z])/g, (_, one, two) => `${one} ${two.toLowerCase()}`);
