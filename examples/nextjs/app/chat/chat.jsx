'use client';

// A chat with Vercel's AI SDK: each answer is a job, which a reload does not end and Stop cancels.

import { useChat } from '@ai-sdk/react';
import { PressworkChatTransport, visibleParts } from '@presswork/client/ai-sdk';
import { useEffect } from 'react';

const transport = new PressworkChatTransport({ body: { parameters: { platform: 'linkedin' } } });

// The messages of before are kept in the tab; put your store of chats here.
const KEPT = 'chat-messages';

export function Chat() {
  const { id, messages, setMessages, sendMessage, status, error } = useChat({ id: 'chat', transport, resume: true });
  const busy = status === 'submitted' || status === 'streaming';

  useEffect(() => {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? '[]');
    setMessages((messages) => (messages.length ? messages : kept));
  }, [setMessages]);
  useEffect(() => {
    if (messages.length) sessionStorage.setItem(KEPT, JSON.stringify(messages));
  }, [messages]);

  function send(event) {
    event.preventDefault();
    sendMessage({ text: new FormData(event.target).get('text') });
  }

  return (
    <form onSubmit={send}>
      {messages.map((message) => (
        <p key={message.id} className={message.role} style={{ whiteSpace: 'pre-wrap' }}>
          {visibleParts(message).map((part) => part.text)}
        </p>
      ))}
      <input name="text" aria-label="Message" required defaultValue="Create a post about our new product" />
      <button disabled={busy}>Send</button>
      <button type="button" disabled={!busy} onClick={() => transport.stop(id)}>
        Stop
      </button>
      <p role="status">{status}</p>
      {error && <p role="alert">{error.message}</p>}
    </form>
  );
}
