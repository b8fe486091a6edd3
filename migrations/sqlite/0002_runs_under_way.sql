-- What every beginning and every change of a workflow costs: fewer pages, and no lists in checks.
-- SQLite makes a table in memory for each `in` of three words or more, each time a row is written;
-- comparisons one by one cost nothing.
--
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
create unique index runs_trigger on runs (policy_uid, kind, trigger_at);
create unique index runs_under_way on runs (run_id) where ended_at is null;
create unique index runs_request on runs (request_key) where request_key is not null;
create index runs_ended on runs (ended_at) where ended_at is not null;

-- Where each workflow stands, as before but for its checks.
create table workflows_next (
    policy_uid text not null references policies (policy_uid) deferrable initially deferred,
    kind text not null check (kind in ('creation', 'deletion')),
    version integer not null check (version >= 1),
    mark integer not null,
    phase text not null check (phase = 'waiting' or phase = 'active' or phase = 'watching'),
    run_id text,
    step text,
    revision text,
    state text,
    seen integer check (seen >= 0),
    latest_run integer,
    latest_good integer,
    latest_plan integer,
    primary key (policy_uid, kind),
    check ((phase = 'active') = (run_id is not null)),
    check ((phase = 'active') = (step is not null)),
    check (step is null
        or (kind = 'creation' and (step = 'looking' or step = 'asking' or step = 'running'))
        or (kind = 'deletion'
            and (step = 'planning' or step = 'rechecking' or step = 'deleting' or step = 'confirming'))),
    check ((phase = 'waiting') = (state is null)),
    check ((phase = 'waiting') = (revision is null)),
    check (kind = 'deletion' or (seen is null and latest_plan is null))
) strict, without rowid;

insert into workflows_next
    (policy_uid, kind, version, mark, phase, run_id, step, revision, state, seen, latest_run, latest_good, latest_plan)
select policy_uid, kind, version, mark, phase, run_id, step, revision, state, seen, latest_run, latest_good, latest_plan
from workflows order by policy_uid, kind;

drop table workflows;
alter table workflows_next rename to workflows;
