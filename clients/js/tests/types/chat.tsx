// A chat and a completion with Vercel's AI SDK, as an application writes them.
import { useChat, useCompletion } from '@ai-sdk/react';
import { Presswork } from '@presswork/client';
import {
  completionFetch,
  PressworkChatTransport,
  visibleParts,
  type ChatStorage,
  type JobMetadata,
} from '@presswork/client/ai-sdk';
import type { UIMessage } from 'ai';

type Message = UIMessage<JobMetadata>;

const client = new Presswork({ defaults: { projectId: 'p', userId: 'u' } });
const transport = new PressworkChatTransport<Message>({
  client,
  body: () => ({ instructions: 'Sound warm.', priority: 'high', parameters: { platform: 'linkedin' } }),
});
const fetch = completionFetch({ client });

export function Chat() {
  const { id, messages, sendMessage, status } = useChat<Message>({ id: 'chat', transport, resume: true });
  return (
    <form action={() => void sendMessage({ text: 'Write' }, { body: { priority: 'low' } })}>
      {messages.map((message) => (
        <p key={message.id} title={message.metadata?.model}>
          {visibleParts(message).map((part) => (part.type === 'text' ? part.text : ''))}
        </p>
      ))}
      <button disabled={status !== 'ready'}>Send</button>
      <button type="button" onClick={() => void transport.stop(id)}>
        Stop
      </button>
    </form>
  );
}

export function Writer() {
  const { completion, complete, stop } = useCompletion({ fetch, body: { parameters: { platform: 'x' } } });
  return (
    <p onClick={() => void complete('Write')} onDoubleClick={stop}>
      {completion}
    </p>
  );
}

declare const asynchronous: { get: (name: string) => Promise<string | null> };
const storage: ChatStorage = { getItem: asynchronous.get, setItem: async () => {}, removeItem: async () => {} };
export const others = [
  new PressworkChatTransport(),
  new PressworkChatTransport({ storage }),
  new PressworkChatTransport({ storage: null, body: { projectId: 'p' } }),
];

// @ts-expect-error: the messages of a chat are its prompt
void new PressworkChatTransport({ body: { prompt: 'Write' } });
// @ts-expect-error: there is no such priority
void new PressworkChatTransport({ body: { priority: 'urgent' } });
