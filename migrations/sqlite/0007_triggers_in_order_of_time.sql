-- What beginnings cost where many policies are due at once, however long the history is.
--
-- Triggers lay by policy: a thousand beginnings of one second took a thousand pages, one of each
-- policy's own past. By time they lie side by side, at the end. What one policy did is looked up by
-- people, and never of a run under way, which its workflow names: so a run goes into that index when it
-- has settled, which is seldom a thousand at once.
--
-- That a run belongs to a policy that is known was asked of `policies` with every run. It follows from
-- its workflow: the commit that begins a run writes its number there, and fails where there is none.
--
-- SQLite takes a key out of a table only by making the table anew. Indexes come last: sorted once they
-- are made in a tenth of the time.
create table runs_next (
    number integer primary key,
    run_id text not null check (length(run_id) > 0),
    policy_uid text not null,
    kind text not null check (kind = 'creation' or kind = 'deletion'),
    trigger_at integer not null,
    cause text not null check (cause = 'schedule' or cause = 'catch_up' or cause = 'manual'),
    revision text not null,
    began_at integer not null,
    snapshot text,
    request_key text,
    ended_at integer,
    outcome text check (outcome = 'succeeded' or outcome = 'failed' or outcome = 'time_limit_exceeded'
        or outcome = 'held' or outcome = 'cancelled'),
    message text,
    blame text,
    attempts integer not null default 0 check (attempts >= 0),
    check ((ended_at is null) = (outcome is null)),
    check ((ended_at is null) = (message is null)),
    check (ended_at is not null or (blame is null and attempts = 0)),
    check (kind = 'creation' or snapshot is null),
    check (outcome is null or outcome <> 'held' or kind = 'deletion')
) strict;

insert into runs_next
    (number, run_id, policy_uid, kind, trigger_at, cause, revision, began_at, snapshot, request_key,
        ended_at, outcome, message, blame, attempts)
select number, run_id, policy_uid, kind, trigger_at, cause, revision, began_at, snapshot, request_key,
    ended_at, outcome, message, blame, attempts
from runs order by number;

drop table runs;
alter table runs_next rename to runs;

-- A trigger runs once.
create unique index runs_trigger on runs (trigger_at, policy_uid, kind);
create index runs_of_policy on runs (policy_uid, kind, trigger_at) where ended_at is not null;
create unique index runs_under_way on runs (run_id) where ended_at is null;
create unique index runs_request on runs (request_key) where request_key is not null;
create index runs_ended on runs (ended_at) where ended_at is not null;
