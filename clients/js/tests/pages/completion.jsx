// A text as an application asks for it, with `useCompletion`; `?bare`: without the package.

import { useCompletion } from '@ai-sdk/react';
import { createRoot } from 'react-dom/client';
import { completionFetch } from '../../src/ai-sdk.js';
import { address, bare, client, fields, Mode, useNotes } from './service.js';

const body = { parameters: { length: 'long', platform: 'linkedin' } };
const options = bare
  ? { api: `${address}/api/ai/completion`, body: { ...fields, ...body } }
  : { fetch: completionFetch({ client }), body };

function Writer() {
  const { completion, complete, stop, isLoading, error } = useCompletion(options);
  useNotes(completion);
  return (
    <>
      <button id="send" onClick={() => complete('Create a social media post about our new product')}>
        Write
      </button>
      <button id="stop" onClick={stop}>
        Stop
      </button>
      <p id="status">{isLoading ? 'streaming' : 'ready'}</p>
      <p id="text">{completion}</p>
      <p id="error">{error?.message}</p>
    </>
  );
}

createRoot(document.getElementById('root')).render(
  <Mode>
    <Writer />
  </Mode>,
);
