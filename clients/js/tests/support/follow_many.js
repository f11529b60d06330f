// Follows jobs to their ends while a test of Python does as it likes with the services; prints a line for each.
// Arguments: the number of jobs. Environment: PRESSWORK_URL.

import { Presswork } from '../../src/index.js';
import { DEFAULTS, read, request, URL } from './service.js';

const client = new Presswork({ baseUrl: URL, defaults: DEFAULTS, retries: 50 });

async function one() {
  const job = await client.submit(request());
  console.log(JSON.stringify({ submitted: job.id }));
  const { text, kinds, end } = await read(job.events());
  const count = (kind) => kinds.filter((each) => each === kind).length;
  console.log(
    JSON.stringify({
      id: job.id,
      text,
      end: end.type,
      ends: count(end.type),
      resets: count('reset'),
      gaps: count('gap'),
    }),
  );
}

await Promise.all(Array.from({ length: Number(process.argv[2]) }, one));
