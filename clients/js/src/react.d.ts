import type { EndEvent, JobError, JobRequest, JobStatus, Presswork, PressworkError, Progress } from './index.js';

/** A job as a component shows it. */
export interface JobState<Status extends string = JobStatus | 'idle'> {
  status: Status;
  /** Whether more is to come. */
  busy: boolean;
  jobId?: string;
  /** The whole text so far. */
  text: string;
  attempt?: number;
  note?: Progress['note'];
  end?: EndEvent;
  /** Of the call, or of the job. */
  error: PressworkError | JobError | null;
  /** To be stored; `useJob` goes on from it. */
  progress: Progress | null;
  cancel: () => Promise<boolean>;
}

export interface HookOptions {
  /** Left out: one for the page's own origin. It has to be the same object at every render. */
  client?: Presswork;
}

/** A job that is there already, by its id or by a stored progress; null: none. An unmount stops reading, not the job. */
export function useJob(from: string | Progress | null | undefined, options?: HookOptions): JobState;

export interface Generate extends JobState<JobStatus | 'idle' | 'submitting'> {
  /** Submits; a job before is no longer followed. It does not throw: see `error`. */
  generate: (request: Partial<JobRequest> & { prompt: string }) => Promise<void>;
  /** Back to `idle`; the job goes on unless it is cancelled. */
  reset: () => void;
}

/** `storageKey`: keeps the job, or a request without an answer yet, in this tab over a reload. */
export function useGenerate(options?: HookOptions & { storageKey?: string }): Generate;
