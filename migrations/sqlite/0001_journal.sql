-- The journal of one installation. Times are milliseconds since 1970 in UTC.
-- What a row says and what its state allows are tied together by checks: a state that contradicts
-- itself cannot be stored.

-- One row: who writes here.
create table instance (
    one integer not null primary key check (one = 1),
    -- Made once; stamped on every snapshot.
    installation text not null check (length(installation) > 0),
    -- The machine this installation belongs to; empty where a machine has no identity.
    machine text not null,
    -- Raised by every opening for writing. Every commit asks for it, so that a writer that was
    -- replaced loses its commits.
    epoch integer not null check (epoch >= 0)
) strict;

create table policies (
    policy_uid text not null primary key check (length(policy_uid) > 0),
    name text not null check (length(name) > 0),
    revision text not null,
    paused integer not null check (paused in (0, 1)),
    adopted_at integer not null,
    -- When its file was found gone; its name is free from then on.
    retired_at integer
) strict;

create unique index policies_living on policies (name) where retired_at is null;

-- Where each workflow stands. `state` is all that a run or a watch carries, in a form of its own.
create table workflows (
    policy_uid text not null references policies (policy_uid) deferrable initially deferred,
    kind text not null check (kind in ('creation', 'deletion')),
    -- Raised by every change; a writer names the version it replaces.
    version integer not null check (version >= 1),
    mark integer not null,
    phase text not null check (phase in ('waiting', 'active', 'watching')),
    run_id text,
    step text,
    revision text,
    state text,
    -- Own snapshots when a plan last went ahead.
    seen integer check (seen >= 0),
    -- Numbers of rows, so that a start need not search history for them.
    latest_run integer,
    latest_good integer,
    latest_plan integer,
    primary key (policy_uid, kind),
    check ((phase = 'active') = (run_id is not null)),
    check ((phase = 'active') = (step is not null)),
    check (step is null
        or (kind = 'creation' and step in ('looking', 'asking', 'running'))
        or (kind = 'deletion' and step in ('planning', 'rechecking', 'deleting', 'confirming'))),
    check ((phase = 'waiting') = (state is null)),
    check ((phase = 'waiting') = (revision is null)),
    check (kind = 'deletion' or (seen is null and latest_plan is null))
) strict, without rowid;

-- Every run, from its beginning on.
create table runs (
    number integer primary key,
    run_id text not null unique check (length(run_id) > 0),
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
    -- A trigger runs once.
    unique (policy_uid, kind, trigger_at),
    check ((ended_at is null) = (outcome is null)),
    check ((ended_at is null) = (message is null)),
    check (ended_at is not null or (blame is null and attempts = 0)),
    check (kind = 'creation' or snapshot is null),
    check (outcome is null or outcome <> 'held' or kind = 'deletion')
) strict;

create unique index runs_request on runs (request_key) where request_key is not null;
create index runs_ended on runs (ended_at) where ended_at is not null;

-- Triggers that were consumed without a run.
create table skips (
    number integer primary key,
    policy_uid text not null references policies (policy_uid) deferrable initially deferred,
    kind text not null check (kind in ('creation', 'deletion')),
    reason text not null check (reason in ('missed', 'overlap', 'watched', 'clock_moved_back')),
    count integer not null check (count >= 1),
    first_at integer not null,
    last_at integer not null,
    at integer not null,
    check (first_at <= last_at)
) strict;

create index skips_of_policy on skips (policy_uid, kind, at);
create index skips_at on skips (at);

-- What deletion runs decided. `entries` is there when something was condemned or the plan is held.
create table plans (
    number integer primary key,
    run_id text not null,
    policy_uid text not null references policies (policy_uid) deferrable initially deferred,
    made_at integer not null,
    own integer not null check (own >= 0),
    condemned integer not null check (condemned >= 0),
    held text,
    entries text,
    check ((condemned = 0 and held is null) = (entries is null))
) strict;

create index plans_of_policy on plans (policy_uid);
create index plans_made on plans (made_at);

-- Each deletion, each command.
create table audit (
    number integer primary key,
    at integer not null,
    who text not null,
    what text not null,
    subject text not null,
    detail text not null,
    run_id text
) strict;

create index audit_of_run on audit (run_id) where run_id is not null;
create index audit_at on audit (at);

-- Messages owed to channels.
create table notices (
    number integer primary key,
    key text not null unique check (length(key) > 0),
    policy_uid text not null,
    policy text not null,
    run_id text,
    event text not null,
    channel text not null,
    subject text not null,
    body text not null,
    at integer not null,
    state text not null check (state in ('pending', 'delivered', 'undeliverable')),
    attempts integer not null check (attempts >= 0),
    due_at integer,
    settled_at integer,
    trouble text,
    -- Due or settled, never both, never neither.
    check ((state = 'pending') = (due_at is not null)),
    check ((state = 'pending') = (settled_at is null)),
    check (state <> 'undeliverable' or trouble is not null),
    check (state <> 'delivered' or trouble is null)
) strict;

create index notices_due on notices (due_at, number) where state = 'pending';
create index notices_settled on notices (settled_at) where settled_at is not null;

-- The last good text of each file.
create table documents (
    kind text not null check (kind in ('policy', 'repository', 'channel')),
    name text not null,
    origin text not null,
    text text not null,
    at integer not null,
    primary key (kind, name)
) strict, without rowid;

-- What a run under way needs to finish as it began.
create table terms (
    revision text not null primary key,
    text text not null
) strict;

-- When each housekeeping job last ran.
create table chores (
    job text not null primary key,
    at integer not null,
    trouble text
) strict;
