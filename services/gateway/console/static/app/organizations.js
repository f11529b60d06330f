// The ids of organisations that this caller may name: for chips and choices.

import { useEffect, useState } from 'preact/hooks';
import { api, optional } from './api.js';
import { can, isOperator } from './session.js';

let known = null;

async function read() {
  if (!isOperator.value || !can('admin')) return [];
  const listed = await optional('api/admin/organizations', { limit: 500 }).catch(() => null);
  const named = listed?.organizations?.map((one) => one.id ?? one.organizationId);
  if (named?.length) return named.sort();
  const { keys } = await api.get('api/admin/keys').catch(() => ({ keys: [] }));
  return [...new Set(keys.map((key) => key.organizationId))].filter((id) => id !== '*').sort();
}

export function useOrganizations() {
  const [ids, setIds] = useState([]);
  useEffect(() => {
    known ??= read();
    known.then(setIds);
  }, []);
  return ids;
}
