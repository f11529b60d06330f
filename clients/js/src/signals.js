// A signal that is aborted with another one, and when the reader leaves.
export function follower(signal) {
  const controller = new AbortController();
  const follow = () => controller.abort(signal.reason);
  if (signal?.aborted) follow();
  signal?.addEventListener('abort', follow, { once: true });
  return { signal: controller.signal, leave: (reason) => controller.abort(reason) };
}

// Resolves as the promise does; rejects with the signal's reason when it is aborted before.
export function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    if (signal?.aborted) leave();
    signal?.addEventListener('abort', leave, { once: true });
    promise.then(resolve, reject);
  });
}
