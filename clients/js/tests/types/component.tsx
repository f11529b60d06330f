// Components as an application writes them.
import { Presswork, type Progress } from '@presswork/client';
import { useGenerate, useJob } from '@presswork/client/react';

const client = new Presswork();

export function Writer() {
  const { generate, cancel, reset, text, status, busy, error } = useGenerate({ client, storageKey: 'writer' });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void generate({ prompt: 'Write', projectId: 'p', userId: 'u', organizationId: 'o' });
      }}
    >
      <button disabled={busy}>Write</button>
      <button type="button" disabled={!busy} onClick={() => void cancel()}>
        Cancel
      </button>
      <button type="button" onClick={reset}>
        {status === 'submitting' ? 'Sending' : status}
      </button>
      <p>{text}</p>
      {error && <p role="alert">{error.message}</p>}
    </form>
  );
}

export function Reader({ from }: { from: string | Progress | null }) {
  const { text, end } = useJob(from);
  return <p title={end?.model}>{text}</p>;
}
