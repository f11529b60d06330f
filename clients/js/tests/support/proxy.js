// A proxy between a client and the service that fails as a test wants.

import http from 'node:http';

// `decide` gets each request and returns what happens to it: undefined (it passes), `{ cut: bytes }` (the answer is cut
// after so many of its body), `{ drop: true }` (the service gets it, its answer is lost), `{ hold: true }` (no byte of the
// answer comes), `{ status, type, body }` (that answer in place of the service's).
export async function proxy(target, decide) {
  const server = http.createServer((request, answer) => {
    const fate = decide(request) ?? {};
    if (fate.status) {
      request.resume();
      answer.writeHead(fate.status, { 'Content-Type': fate.type ?? 'text/html', ...fate.headers }).end(fate.body ?? '');
      return;
    }
    const headers = { ...request.headers, host: new URL(target).host };
    const onward = http.request(
      new URL(request.url, target),
      { method: request.method, headers, agent: false },
      (came) => {
        if (fate.drop) {
          came.resume();
          came.on('end', () => answer.destroy());
          return;
        }
        if (fate.hold) return void came.resume();
        answer.writeHead(came.statusCode, came.headers);
        answer.flushHeaders();
        if (fate.cut === undefined) came.pipe(answer);
        else cut(came, answer, fate.cut);
      },
    );
    onward.on('error', () => answer.destroy());
    answer.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}

function cut(came, answer, bytes) {
  let left = bytes;
  came.on('data', (chunk) => {
    if (chunk.length < left) {
      left -= chunk.length;
      answer.write(chunk);
    } else if (left > 0) {
      answer.write(chunk.subarray(0, left), () => answer.destroy());
      left = 0;
    }
  });
  came.on('end', () => answer.end());
}
