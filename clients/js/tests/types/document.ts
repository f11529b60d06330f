// The hand-written types are those of the OpenAPI document: an answer of the service is one of ours, and a request of ours
// is one that the service takes. `api.d.ts` is made of the served document.
import type { JobEvent, JobRequest, JobView, ProblemCode, QueueStats, Ticket, UsageView } from '@presswork/client';
import type { components } from './api.js';

type Schemas = components['schemas'];

// A field that is left out is never null in an answer; the document allows for both.
type Present<Type> = Type extends readonly (infer Item)[]
  ? Present<Item>[]
  : Type extends object
    ? {
        [Name in keyof Type]: undefined extends Type[Name]
          ? Present<NonNullable<Type[Name]>> | undefined
          : Present<Type[Name]>;
      }
    : Type;

type Holds<Given extends Wanted, Wanted> = Given;

export type Request = Holds<Omit<JobRequest, 'parameters'>, Omit<Schemas['JobRequest'], 'parameters'>>;
export type Parameters = Holds<Present<Schemas['JobRequest']>['parameters'], JobRequest['parameters']>;
export type View = Holds<Present<Schemas['JobView']>, JobView>;
export type Stats = Holds<Schemas['QueueView'], QueueStats>;
export type Usage = Holds<Schemas['UsageView'], UsageView>;
export type Made = Holds<Schemas['TicketView'], Ticket>;

type Own = 'no-answer' | 'job-failed' | 'job-cancelled';
type Slug<Type> = Type extends `urn:presswork:problem:${infer End}` ? End : never;
export type Known = Holds<Slug<Schemas['ProblemType']>, ProblemCode>;
export type NoOther = Holds<Exclude<ProblemCode, Own>, Slug<Schemas['ProblemType']>>;

type Events = Schemas['JobEvent'];
type Given<Kind> = Present<Omit<Extract<Events, { event: Kind }>['data'], 'status'>> & { type: Kind };
type Ours<Kind> = Extract<JobEvent, { type: Kind }>;
export type All = [
  Holds<Given<'queued'>, Ours<'queued'>>,
  Holds<Given<'processing'>, Ours<'processing'>>,
  Holds<Given<'delta'>, Ours<'delta'>>,
  Holds<Given<'retrying'>, Ours<'retrying'>>,
  Holds<Given<'completed'>, Ours<'completed'>>,
  Holds<Given<'failed'>, Ours<'failed'>>,
  Holds<Given<'cancelled'>, Ours<'cancelled'>>,
];
