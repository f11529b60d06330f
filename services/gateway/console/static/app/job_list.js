// The jobs that match a filter: pages read as they come into sight, the first one again and again.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { api, optional } from './api.js';
import { can } from './session.js';
import { useReading } from './refresh.js';

const PAGE = 100;

// Where jobs of all organisations are listed: null, not asked yet; false, not on this gateway.
let everywhere = null;

export async function readPage(filter, cursor, signal) {
  const query = { ...filter, cursor, limit: PAGE };
  if (can('admin') && everywhere !== false) {
    try {
      const found = await optional('api/admin/jobs', query, signal);
      everywhere = found !== null;
      if (found) return found;
    } catch (error) {
      everywhere ??= error.status === 400 ? true : null;  // it is there, and asks for an organisation
      throw error;
    }
  }
  const { organizationId, status } = filter;
  return api.get('api/ai/jobs', { organizationId, status, cursor, limit: PAGE }, signal);
}

// Answers { jobs, cursor, everywhere, reading, more }.
export function useJobs(filter, { live }) {
  const key = JSON.stringify(filter);
  const [list, setList] = useState({ key: '', jobs: [], cursor: null });
  const loading = useRef(false);
  const current = useRef(key);
  current.current = key;

  const reading = useReading(async (signal) => {
    const page = await readPage(filter, undefined, signal);
    setList((before) => (before.key === key ? merge(before, page) : { key, ...page }));
    return true;
  }, [key], { every: live ? undefined : 0 });

  const more = useCallback(async () => {
    if (loading.current || list.key !== key || !list.cursor) return;
    loading.current = true;
    try {
      const page = await readPage(filter, list.cursor);
      if (current.current === key) {
        setList((before) => ({ ...before, jobs: unlike(before.jobs, page.jobs), cursor: page.cursor }));
      }
    } finally {
      loading.current = false;
    }
  }, [key, list]);

  useEffect(() => { if (list.key === key && list.cursor && list.jobs.length < 30) more(); }, [list, key]);
  const fits = list.key === key;
  return { jobs: fits ? list.jobs : [], cursor: fits ? list.cursor : null, everywhere: everywhere === true, reading, more };
}

// The first page anew, before what was read below it; a list that it does not touch begins again.
function merge(before, page) {
  const known = new Map(before.jobs.map((job) => [job.jobId, job]));
  const newest = new Set(page.jobs.map((job) => job.jobId));
  const fresh = page.jobs.map((job) => (same(known.get(job.jobId), job) ? known.get(job.jobId) : job));
  if (!page.cursor || !before.jobs.length) return { ...before, ...page, jobs: fresh };
  const place = before.jobs.findLastIndex((job) => newest.has(job.jobId));
  if (place < 0) return { ...before, ...page, jobs: fresh };
  const rest = before.jobs.slice(place + 1).filter((job) => !newest.has(job.jobId));
  return { ...before, jobs: [...fresh, ...rest], cursor: rest.length ? before.cursor : page.cursor };
}

const unlike = (jobs, others) => {
  const known = new Set(jobs.map((job) => job.jobId));
  return [...jobs, ...others.filter((job) => !known.has(job.jobId))];
};

const same = (one, other) => one !== undefined && JSON.stringify(one) === JSON.stringify(other);

// All jobs that match, at most `most`: { jobs, whole }.
export async function readAll(filter, most, progress) {
  const jobs = [];
  let cursor;
  do {
    const page = await readPage(filter, cursor);
    jobs.push(...page.jobs);
    cursor = page.cursor;
    progress?.(jobs.length);
  } while (cursor && jobs.length < most);
  return { jobs: jobs.slice(0, most), whole: !cursor && jobs.length <= most };
}
