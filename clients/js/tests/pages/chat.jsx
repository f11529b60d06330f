// A chat as an application writes it, with `useChat`.

import { useChat } from '@ai-sdk/react';
import { useEffect } from 'react';
import { createRoot } from 'react-dom/client';
import { PressworkChatTransport, visibleParts } from '../../src/ai-sdk.js';
import { client, Mode, useNotes } from './service.js';

const transport = new PressworkChatTransport({
  client,
  body: { parameters: { length: 'long', platform: 'linkedin' } },
});
const textOf = (message) =>
  visibleParts(message)
    .map(({ text }) => text)
    .join('');

// The messages of before, which an application keeps where it likes.
const before = JSON.parse(sessionStorage.getItem('messages') ?? '[]');

function Chat() {
  const { id, messages, sendMessage, status, error } = useChat({ id: 'chat', transport, messages: before, resume: true });
  const answer = messages.findLast(({ role }) => role === 'assistant');
  const text = answer ? textOf(answer) : '';
  useEffect(() => sessionStorage.setItem('messages', JSON.stringify(messages)), [messages]);
  useNotes(text);
  return (
    <>
      <button id="send" onClick={() => sendMessage({ text: 'Create a social media post about our new product' })}>
        Send
      </button>
      <button id="stop" onClick={() => transport.stop(id)}>
        Stop
      </button>
      <p id="status">{status}</p>
      <ol>
        {messages.map((message) => (
          <li key={message.id} id={message.id} className={message.role}>
            {textOf(message)}
          </li>
        ))}
      </ol>
      <p id="text">{text}</p>
      <p id="error">{error?.message}</p>
    </>
  );
}

createRoot(document.getElementById('root')).render(
  <Mode>
    <Chat />
  </Mode>,
);
