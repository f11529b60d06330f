// The page's API: this server holds the key, and a visitor reaches the jobs of its own user alone.

import { createHandler } from '@presswork/client/server';
import { signedIn } from '../../../session.js';

export const { GET, POST } = createHandler({
  baseUrl: process.env.PRESSWORK_URL ?? 'http://127.0.0.1:8000',
  apiKey: process.env.PRESSWORK_KEY,
  identify: signedIn,
});
