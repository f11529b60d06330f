// The caller: who signed in, and which rights the key has. The API decides; this only hides what it would refuse.

import { computed, signal } from '@preact/signals';
import { api } from './api.js';

// null: not known yet. `caller` null: sign in first.
export const session = signal(null);
export const unreachable = signal(null);

export async function load() {
  try {
    session.value = await api.get('console/session');
    unreachable.value = null;
  } catch (error) {
    unreachable.value = error;
  }
}

export async function signIn(key) {
  session.value = await api.post('console/session', { key });
}

export async function signOut() {
  try {
    await api.remove('console/session');
  } finally {
    signedOut();
  }
}

// The key ended, or the cookie did.
export function signedOut() {
  if (session.value?.keys) session.value = { ...session.value, caller: null };
}

export const caller = computed(() => session.value?.caller ?? null);
export const isOperator = computed(() => caller.value !== null && caller.value.organizationId === null);
export const can = (scope) => caller.value?.scopes.includes(scope) ?? false;

// The time in ms between two readings of a page.
export const everyMs = () => (session.value?.refreshSeconds ?? 3) * 1000;
