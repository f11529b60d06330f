// Server-sent events of a body, as the WHATWG specification has them.

const LINE_END = /\r\n|\n|\r/;

// Yields `{ event, data, id, retry }` as each is complete. `id` is the last one that was sent, with this event or before
// (undefined: none yet), `retry` likewise; an id without data is yielded too, with `data` undefined.
export async function* messages(chunks) {
  const decoder = new TextDecoder();
  const parser = new Parser();
  for await (const chunk of chunks) yield* parser.take(decoder.decode(chunk, { stream: true }));
}

export class Parser {
  #rest = '';
  #event = '';
  #data = [];
  #id;
  #sent;
  #retry;

  *take(text) {
    let unread = this.#rest + text;
    for (;;) {
      const found = LINE_END.exec(unread);
      // A CR at the end may be half of a CRLF.
      if (!found || (found[0] === '\r' && found.index === unread.length - 1)) break;
      const line = unread.slice(0, found.index);
      unread = unread.slice(found.index + found[0].length);
      if (line) this.#field(line);
      else yield* this.#dispatch();
    }
    this.#rest = unread;
  }

  #field(line) {
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') this.#event = value;
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
    else if (name === 'retry' && /^\d+$/.test(value)) this.#retry = Number(value);
  }

  *#dispatch() {
    const data = this.#data.length ? this.#data.join('\n') : undefined;
    if (data !== undefined || this.#id !== this.#sent || this.#retry !== undefined) {
      yield { event: this.#event || 'message', data, id: this.#id, retry: this.#retry };
    }
    this.#sent = this.#id;
    this.#event = '';
    this.#data = [];
  }
}
