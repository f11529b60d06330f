// OpenAI's SDK for Node before the services of a test of Python, unchanged but for its address. Does one thing and prints
// lines of JSON: `{ event }` for each event of a stream, and `{ response }`.
// Arguments: what is done, and the request as JSON. Environment: PRESSWORK_URL, RETRIES.

import OpenAI from 'openai';

const sdk = new OpenAI({
  apiKey: 'any',
  baseURL: `${process.env.PRESSWORK_URL}/v1`,
  maxRetries: Number(process.env.RETRIES ?? 5),
});

const say = (line) => console.log(JSON.stringify(line));

// The next event of a stream, whose connection is cut then.
async function next(stream) {
  for await (const event of stream) {
    say({ event });
    return event;
  }
  throw new Error('the stream has no event');
}

// The response once it has ended, as a client of the background polls for it.
async function end(id) {
  for (;;) {
    const response = await sdk.responses.retrieve(id);
    if (!['queued', 'in_progress'].includes(response.status)) return say({ response });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const ACTS = {
  // Cuts the stream after every event, and resumes it.
  async cut(asked) {
    let event = await next(await sdk.responses.create(asked));
    const { id } = event.response;
    while (event.type !== 'response.completed') {
      const after = { stream: true, starting_after: event.sequence_number };
      event = await next(await sdk.responses.retrieve(id, after));
    }
    await end(id);
  },

  // Reads the stream to its end; the SDK throws the event `error`.
  async read(asked) {
    let id;
    try {
      for await (const event of await sdk.responses.create(asked)) {
        say({ event });
        id ??= event.response.id;
      }
    } catch (error) {
      if (!(error instanceof OpenAI.APIError)) throw error;
      say({ event: error.error });
    }
    await end(id);
  },

  // Reads until some text has come, then cancels.
  async cancel(asked) {
    let id;
    for await (const event of await sdk.responses.create(asked)) {
      id ??= event.response.id;
      if (event.type === 'response.output_text.delta') break;
    }
    say({ response: await sdk.responses.cancel(id) });
    await end(id);
  },

  async create(asked) {
    const { id } = await sdk.responses.create(asked);
    await end(id);
  },

  // Says the names of all headers that it sends, as a page of another origin would: `{ headers }`.
  async headers(asked) {
    const names = new Set();
    const watched = sdk.withOptions({
      organization: 'default',
      project: 'proj-1',
      fetch: (url, request) => {
        for (const [name] of new Headers(request.headers)) names.add(name);
        return fetch(url, request);
      },
    });
    await watched.responses.create(asked);
    for await (const event of watched.responses.stream(asked)) if (event.type === 'error') throw event;
    say({ headers: [...names] });
  },
};

const [act, asked] = process.argv.slice(2);
await ACTS[act](JSON.parse(asked));
