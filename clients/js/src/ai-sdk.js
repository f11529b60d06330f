// For Vercel's AI SDK: a transport for `useChat`, and a `fetch` for `useCompletion`.

export { PressworkChatTransport } from './chat-transport.js';
export { completionFetch } from './completion-fetch.js';
export { visibleParts } from './ui-chunks.js';
