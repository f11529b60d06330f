"""Every key of a shard: the only place with key names. All of them share one hash tag, so that the same scripts run
on Redis Cluster. The table has the names as Redis stores them; `_STORED` has those that have another name in the code.

| name          | type   | TTL                        | purpose                                                      |
|---------------|--------|----------------------------|--------------------------------------------------------------|
| job:<id>      | hash   | none; RESULT_TTL at the end | the record: specification, state, lease, outcome             |
| log:<id>      | hash   | none; LOG_TTL at the end    | deltas and retries, one field per event: <token>.<number>    |
| line          | stream | none                       | claimable jobs, of each organisation as many as its weight    |
| backlog:<org> | zset   | none; gone when empty      | its other claimable jobs, by priority, then age               |
| backlogs      | zset   | none                       | organisations that have a backlog, by a first deadline (ms)   |
| delayed:<org> | zset   | none; gone when empty      | its delayed jobs and retries by due time (ms)                 |
| due           | zset   | none                       | organisations with delayed jobs, by the first due time (ms)   |
|               |        |                            | `!`: the first of `retention_timers`                          |
| retention_timers | zset | none                      | prompts and listings that end before a record, by time (ms)   |
| organizations | hash   | none; gone at zero         | packed counts of each organisation (`organizations.lua`)       |
| policies      | hash   | none                       | settings of an organisation by operators: weight, limits      |
| rank_slots    | hash   | none                       | slot of the priority pattern of organisations that need it    |
| held_organizations | zset | none                    | organisations that may start no job, by when to look (ms);    |
|               |        |                            | `<org> *`: some of its projects may start none                |
| durations:<hour> | string | 49 h                     | wait and run times of jobs that ended then (`durations.lua`)  |
| recent_calls:<10 min> | string | 24 h 30 min        | failed calls by gate and error; chains (`recent_calls.py`)    |
| ended:<org>   | string | USAGE_TTL_DAYS             | its ended jobs by outcome, less those in `ledger`             |
| suspect       | stream | none                       | jobs that lost a worker twice, few per worker at a time       |
| placed_suspects | hash | none; gone at zero         | entries of each organisation in `suspect`: up to its weight   |
| suspect_backlog:<org> | zset | none; gone when empty | its other suspects, by priority, then age                     |
| isolated      | stream | none                       | jobs that lost a worker three times: run alone in a worker    |
| again, high, normal, low | stream | none            | claimable jobs of an older release: they join the backlogs    |
| due_high, due_normal, due_low | zset | none         | delayed jobs and retries of an older release                  |
| wake          | zset   | none                       | wake-up markers `job` and `look`, popped by idle workers      |
| wake:<gate>   | zset   | 1 h                        | the same for workers that have this provider:model            |
| turn          | string | none                       | round-robin slot: whether the line or suspects go first        |
| counts        | hash   | none                       | ended jobs by outcome, over all time, less those in `ledger`   |
| ledger        | list   | none                       | jobs that ended last and their usage, up to 511 lines          |
| suspects      | hash   | none; audited              | consumer that died with suspects -> when that was found (ms)  |
| recoverer     | string | 2/3 of a lease             | the worker that searches for lost leases, and until when (ms) |
| cancels       | zset   | 1 h after the last request | running jobs whose cancel was requested, by time (ms)         |
| audit         | string | AUDIT_SECONDS, nearly      | lock: one worker audits                                       |
| failover      | hash   | none                       | term of the master; last entry of each queue then; pauses      |
| attribution   | string | none                       | key of the identifiers of end users, for vendors              |
| confirmed     | string | none                       | written before every WAIT (`confirmed_writes.py`)             |
| gates         | hash   | none                       | state of each provider:model's gate and of its queue; pauses  |
| parked        | zset   | none                       | throttled jobs, by deadline (ms)                              |
| deadlines     | zset   | none                       | jobs that brought a deadline of their own, by deadline (ms)   |
| throttled:<gate> <org> | zset | none; gone when empty | jobs that wait for this gate (`*`: any), by priority, age  |
| throttled_by:<gate> | zset | none; gone when empty  | organisations that wait there, by what they were served       |
| throttled:<gate> | zset | none; gone when empty     | jobs that wait for this gate in an older release, of all      |
| lane:<chain>  | zset   | none; gone when empty      | the same of a release before, one for each chain              |
| idem:<org>:<digest> | string | deadline + RESULT_TTL | idempotency key -> job id and fingerprint                     |
|               |        | 10 min                     | the same of a request that may be repeated (`repeats.py`)     |
| index:<org>:<day> | list | outlives its jobs        | job ids of an organisation in order of submission             |
| usage:<org>:<day> | hash | USAGE_TTL_DAYS           | sums of usage: project and model -> packed sums                |
| usage_organizations | zset | none; as the sums       | organisations with usage, by its last day; `*`: all are there |
| submits:<org> | string | 1 min                      | submits of an organisation in its present minute             |
| deleted:<id>  | string | RESULT_TTL                 | whose job it was that was deleted                            |
| failures:<org> | stream | FAILED_TTL               | failed jobs, `*`: of all organisations (`failure_index.lua`)  |
| cancellations:<org> | stream | RESULT_TTL          | cancelled jobs, in the same form                             |
| failure_totals:<org> | hash | FAILED_TTL           | bytes of its failed jobs, and how many were dropped          |
| task:<id>     | hash   | 14 d                       | a redrive or a discard of many failed jobs (`tasks.py`)        |
| tasks         | zset   | none                       | tasks that are not done, by the end of a lease (ms)            |
| org:<org>     | stream | 24 h                       | life-cycle events of an organisation, newest 1,000            |
| key:<key id>  | hash   | none; 30 d after its end   | an API key: hash, organisation, scopes (`api_keys.py`)         |
| org_keys:<org> | zset  | none                       | ids of an organisation's keys, by creation (ms); `*`: all's |
| settings:<org> | hash  | none                       | what operators settled for it (`organizations.py`)          |
| budget:<org>  | hash   | 62 d after its last period | nano-USD spent and reserved, by day and month (`budgets.lua`) |
| waiting_chains:<org> | hash | none; gone when empty | how many jobs wait with each chain of their own               |
| token_clock:<org>:<gate> | string | until it is over | when its tokens there are paid (`token_clocks.lua`) |
| gate_bounds   | hash   | none                       | prices and output limits of gates, as workers know them       |
| blocked_users:<org> | set | none                    | its users whose submits are refused                         |
| job_trail:<org> | stream | 90 d after the last     | its jobs that were cancelled or deleted, and by whom         |
| tenants       | set    | none                       | organisations that have keys or settings                      |
| ticket_secrets | string | none                      | secrets of event tickets, the newest first                     |
| workers       | hash   | none; audited              | workers, and orders to drain one (`workers.py`)               |
| audit_trail   | stream | none; capped               | changes of keys and settings, and by whom (`audit_trail.py`)   |
| refusal_trail | stream | none; capped               | what was refused to whom, an entry a day (`refusal_trail.py`)  |
| refusals:<org>:<day> | hash | 2 d                | a day's refusals, by kind, and their entry in the trail   |
| erased:<digest> | string | 1 h                    | an organisation was deleted: nothing of it is to be added      |

<org> is an organisation's id as `encode_id` makes it, here, in `org` of a record and in the ledger's lines.

Channels: bell:<job id>, orgbell:<org>, control:<consumer>, key_channel:changed (ids of keys that changed),
control:tasks (ids of new tasks).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from shared.job_ids import SHARD

OPERATORS: Final = "*"
"""In the place of an organisation's id: of none. No organisation is encoded so."""

TASKS: Final = "tasks"
"""In the place of a consumer's name: of all workers. No consumer is called so."""

GROUP: Final = "workers"
"""The one consumer group of every stream."""

QUEUES: Final = {
    "q": "line", "s": "suspect", "i": "isolated", "a": "requeued", "h": "high", "n": "normal", "l": "low",
}  # fmt: skip
"""Queue letter (first character of a lease token) -> name of its stream."""

_STORED: Final = {
    "requeued": "again",
    "round_robin": "turn",
    "throttled_deadlines": "parked",
    "job_channel": "bell",
    "organization_channel": "orgbell",
    "chain_set": "lane",
}
"""Name in the code -> name in Redis, where it differs: data of earlier releases bears these."""

FIXED: Final = (
    *QUEUES.values(), "due_high", "due_normal", "due_low", "wake", "round_robin", "counts", "ledger", "suspects",
    "recoverer", "cancels", "audit", "failover", "confirmed", "attribution", "gates", "throttled_deadlines",
    "deadlines", "organizations", "policies", "rank_slots", "backlogs", "held_organizations", "due",
    "retention_timers", "tenants", "audit_trail", "refusal_trail", "ticket_secrets", "gate_bounds", "tasks",
    "usage_organizations", "workers", "placed_suspects",
)  # fmt: skip
PREFIXES: Final = (
    "job", "log", "idem", "index", "usage", "org", "job_channel", "organization_channel", "control", "chain_set",
    "throttled", "throttled_by", "wake", "backlog", "delayed", "ended", "key", "org_keys", "key_channel", "settings",
    "submits", "deleted", "failures", "cancellations", "failure_totals", "task", "blocked_users",
    "job_trail", "budget", "durations", "token_clock", "waiting_chains", "suspect_backlog", "refusals", "erased",
    "recent_calls",
)  # fmt: skip


@lru_cache(maxsize=4096)  # asked for twice in each job
def encode_id(text: str) -> str:
    """Encode an organisation's id as part of a key, of a channel, or of a line of the ledger: percent-encoded, so that
    ids stay different and contain no separator. Letters, digits and `_.-~` are kept."""
    return quote(text, safe="")


def decode_id(part: str) -> str:
    """The id that `encode_id` encoded."""
    return unquote(part) if "%" in part else part


class Keys:
    """Names of one shard's keys and channels. `prefix`: KEY_PREFIX; two of them have no name in common."""

    def __init__(self, shard: str = SHARD, *, prefix: str = "pw") -> None:
        self.tag = shard
        self._start = f"{prefix}:{{{shard}}}:"

    @property
    def pattern(self) -> str:
        """Pattern that all keys and channels match, in the form of ACL rules."""
        return f"{self._start}*"

    @property
    def probe(self) -> str:
        """A name that no key has: commands are tried on it (`preflight/checks.py`)."""
        return self._start + "vet"

    def fixed(self, name: str) -> str:
        """The full name of a key that exists once per shard; KeyError for a name that is not listed above."""
        if name not in FIXED:
            raise KeyError(name)
        return self._start + _STORED.get(name, name)

    def prefix(self, name: str) -> str:
        """Part before the id in a key that exists once per job, organisation or consumer."""
        if name not in PREFIXES:
            raise KeyError(name)
        return f"{self._start}{_STORED.get(name, name)}:"

    @property
    def streams(self) -> list[str]:
        """The streams in the order of `QUEUES`."""
        return [self.fixed(name) for name in QUEUES.values()]

    def wake(self, gates: Iterable[str]) -> list[str]:
        """The wake-up sets of a worker that has these gates."""
        return [self.fixed("wake"), *(self.prefix("wake") + gate for gate in gates)]

    @property
    def due(self) -> list[str]:
        """Sets of delayed jobs, one of which exists while any job is delayed."""
        return [self.fixed(name) for name in ("due", "due_high", "due_normal", "due_low")]

    def job(self, job_id: str) -> str:
        """Record of a job."""
        return self.prefix("job") + job_id

    def log(self, job_id: str) -> str:
        """Event log of a job."""
        return self.prefix("log") + job_id

    def job_channel(self, job_id: str) -> str:
        """Channel that carries a job's last event id."""
        return self.prefix("job_channel") + job_id

    def control(self, consumer: str) -> str:
        """Channel of a worker's cancel requests and orders; of new tasks: `TASKS`."""
        return self.prefix("control") + consumer

    def organization(self, organization_id: str) -> str:
        """Life-cycle events of an organisation."""
        return self.prefix("org") + encode_id(organization_id)

    def organization_channel(self, organization_id: str) -> str:
        """Channel of every life-cycle event of an organisation."""
        return self.prefix("organization_channel") + encode_id(organization_id)

    def index(self, organization_id: str, day: int) -> str:
        """Ids of the jobs an organisation submitted on one day (days since the epoch, Redis's clock)."""
        return f"{self.prefix('index')}{encode_id(organization_id)}:{day}"

    def usage(self, organization_id: str, day: int) -> str:
        """Sums of an organisation's usage by jobs that ended on one day (days since the epoch)."""
        return f"{self.prefix('usage')}{encode_id(organization_id)}:{day}"

    def api_key(self, key_id: str) -> str:
        """Record of an API key."""
        return self.prefix("key") + key_id

    def organization_keys(self, holder: str) -> str:
        """Ids of the API keys of an organisation, encoded, or of the operators (`*`)."""
        return self.prefix("org_keys") + holder

    def blocked_users(self, organization_id: str) -> str:
        """Users of an organisation whose submits are refused."""
        return self.prefix("blocked_users") + encode_id(organization_id)

    def job_trail(self, holder: str) -> str:
        """Cancels and deletions of an organisation's jobs; `holder` is its encoded id."""
        return self.prefix("job_trail") + holder

    def settings(self, organization_id: str) -> str:
        """Settings of an organisation."""
        return self.prefix("settings") + encode_id(organization_id)

    @property
    def key_channel(self) -> str:
        """Channel that carries the ids of API keys that were revoked or changed."""
        return self.prefix("key_channel") + "changed"

    @staticmethod
    def idempotency(organization_id: str, key: str) -> str:
        """Last part of an idempotency key's name: the client's text is hashed, it may hold anything."""
        return f"{encode_id(organization_id)}:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
