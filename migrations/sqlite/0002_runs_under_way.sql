-- Identities of runs are looked up while a run is under way and never afterwards. An index of all of
-- them took a page per policy with every beginning; now it holds what is under way. That a run's
-- identity is given once follows from its trigger, of which it is made.
--
-- SQLite takes a constraint out of a table only by making the table anew. Indexes come last: sorted
-- once they are made in a tenth of the time.
create table runs_next (
    number integer primary key,
    run_id text not null check (length(run_id) > 0),
    policy_uid text not null references policies (policy_uid) deferrable initially deferred,
    kind text not null check (kind in ('creation', 'deletion')),
    trigger_at integer not null,
    cause text not null check (cause in ('schedule', 'catch_up', 'manual')),
    revision text not null,
    began_at integer not null,
    snapshot text,
    request_key text,
    ended_at integer,
    outcome text check (outcome in ('succeeded', 'failed', 'time_limit_exceeded', 'held', 'cancelled')),
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
create unique index runs_trigger on runs (policy_uid, kind, trigger_at);
create unique index runs_under_way on runs (run_id) where ended_at is null;
create unique index runs_request on runs (request_key) where request_key is not null;
create index runs_ended on runs (ended_at) where ended_at is not null;
