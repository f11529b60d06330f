// The pages of the console: their names, keys, rights, and the files that show them.

import { can, isOperator } from './session.js';

const admin = () => can('admin');
const operator = () => can('admin') && isOperator.value;

export const GROUPS = [
  { title: 'Now', pages: [
    { path: 'overview', name: 'Overview', key: 'o', may: () => can('stats:read'), load: () => import('./pages/overview.js') },
    { path: 'jobs', name: 'Jobs', key: 'j', may: () => can('jobs:read'), load: () => import('./pages/jobs.js') },
    { path: 'failures', name: 'Failures', key: 'f', may: admin, load: () => import('./pages/failures.js') },
  ] },
  { title: 'Fleet', pages: [
    { path: 'gates', name: 'Gates', key: 'g', may: admin, load: () => import('./pages/gates.js') },
    { path: 'workers', name: 'Workers', key: 'w', may: operator, load: () => import('./pages/workers.js') },
  ] },
  { title: 'Customers', pages: [
    { path: 'organizations', name: 'Organisations', key: 'c', may: admin, load: () => import('./pages/organizations.js') },
    { path: 'usage', name: 'Usage', key: 'u', may: () => can('usage:read'), load: () => import('./pages/usage.js') },
  ] },
  { title: 'Access', pages: [
    { path: 'keys', name: 'Keys', key: 'k', may: admin, load: () => import('./pages/keys.js') },
    { path: 'audit', name: 'Audit', key: 'a', may: admin, load: () => import('./pages/audit.js') },
  ] },
];

// Pages that are reached from others.
const INNER = {
  submit: { path: 'submit', name: 'New job', load: () => import('./pages/submit.js') },
  job: { path: 'jobs', name: 'Job', load: () => import('./pages/job.js') },
};

export const visible = () => GROUPS
  .map((group) => ({ ...group, pages: group.pages.filter((page) => page.may()) }))
  .filter((group) => group.pages.length > 0);

export const home = () => visible()[0]?.pages[0];

export function find(parts) {
  if (parts.length === 0) return home();
  if (parts[0] === 'jobs' && parts.length > 1) return INNER.job;
  return INNER[parts[0]] ?? GROUPS.flatMap((group) => group.pages).find((page) => page.path === parts[0]);
}
