// Vercel's AI SDK with its provider for OpenAI before the services of a test of Python, unchanged but for its address.
// Prints a line of JSON: what it got. Environment: PRESSWORK_URL.

import { createOpenAI } from '@ai-sdk/openai';
import { generateText, jsonSchema, Output, streamText } from 'ai';

const inputs = [];
const openai = createOpenAI({
  apiKey: 'any',
  baseURL: `${process.env.PRESSWORK_URL}/v1`,
  fetch: (url, request) => {
    inputs.push(JSON.parse(request.body).input);
    return fetch(url, request);
  },
});
const model = openai('demo:demo');

const first = await generateText({ model, system: 'Be brief.', prompt: 'Write a post about tea' });

// The provider does not send the earlier answer again: it names it.
const messages = [
  { role: 'user', content: 'Write a post about tea' },
  ...first.response.messages,
  { role: 'user', content: 'Another' },
];
const second = await generateText({ model, messages });

const stream = streamText({ model, prompt: 'Write a post about tea', maxOutputTokens: 5 });
let streamed = '';
for await (const piece of stream.textStream) streamed += piece;

const schema = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] };
const structured = await generateText({
  model,
  prompt: 'Write a post about tea',
  output: Output.object({ schema: jsonSchema(schema) }),
});

console.log(
  JSON.stringify({
    texts: [first.text, second.text, streamed],
    types: inputs[1].map(({ type }) => type ?? 'message'),
    finished: [first.finishReason, second.finishReason, await stream.finishReason],
    tokens: (await stream.usage).outputTokens,
    name: typeof structured.output.name,
  }),
);
