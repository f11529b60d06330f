// A call as a line for a terminal. The key is never in it: the shell's own variable is.

import { ORIGIN } from './api.js';
import { session } from './session.js';

const quoted = (text) => `'${text.replace(/'/g, "'\\''")}'`;

export function curlOf(request) {
  const lines = [`curl -X POST ${quoted(`${ORIGIN}/api/ai/generate-content`)}`, "-H 'Content-Type: application/json'"];
  if (session.value?.keys) lines.push('-H "Authorization: Bearer $PRESSWORK_KEY"');
  lines.push(`-d ${quoted(JSON.stringify(request, null, 2))}`);
  return lines.join(' \\\n  ');
}
