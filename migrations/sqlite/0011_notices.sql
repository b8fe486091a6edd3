-- What is owed to channels, anew: what a notice says is kept thing by thing, several that are equal may be one, and
-- what a channel answered is kept.
create table notices_anew (
    number integer primary key,
    key text not null unique check (length(key) > 0),
    -- None where it is about the daemon.
    policy_uid text,
    policy text,
    run_id text,
    event text not null,
    channel text not null,
    subject text not null,
    -- One object: what happened, why, what comes next.
    facts text not null,
    at integer not null,
    -- How many it stands for, and when the latest of them happened.
    count integer not null check (count >= 1),
    latest_at integer not null,
    -- Whether others that are equal join it until it is tried.
    gathers integer not null check (gathers in (0, 1)),
    state text not null check (state in ('pending', 'delivered', 'undeliverable', 'superseded')),
    attempts integer not null check (attempts >= 0),
    due_at integer,
    -- When it was tried first; nothing again once a person sends it anew.
    tried_at integer,
    -- Whether a person sent it anew: its receiver knows its key, so nothing more joins it.
    resent integer not null default 0 check (resent in (0, 1)),
    settled_at integer,
    trouble text,
    answer text,
    check ((policy_uid is null) = (policy is null)),
    check (count = 1 or gathers = 1),
    -- Due or settled, never both, never neither.
    check ((state = 'pending') = (due_at is not null)),
    check ((state = 'pending') = (settled_at is null)),
    check (state <> 'undeliverable' or trouble is not null),
    check (state <> 'delivered' or trouble is null),
    check (state = 'delivered' or answer is null)
) strict;

insert into notices_anew (number, key, policy_uid, policy, run_id, event, channel, subject, facts, at, count, latest_at,
        gathers, state, attempts, due_at, tried_at, settled_at, trouble)
    select number, key, policy_uid, policy, run_id, event, channel, subject, json_object('what', body), at, 1, at,
        0, state, attempts, due_at, case when attempts > 0 then at end, settled_at, trouble
    from notices;

drop table notices;
alter table notices_anew rename to notices;

create index notices_due on notices (channel, due_at, number) where state = 'pending';
create index notices_undeliverable on notices (channel) where state = 'undeliverable';
create index notices_settled on notices (settled_at) where settled_at is not null;
-- What a channel was told last of the same, and what gathers.
create index notices_about on notices (channel, event, policy_uid, number);
create index notices_of_run on notices (run_id) where run_id is not null;

-- What goes on until it is over, and has been told.
create table alarms (
    event text not null,
    subject text not null,
    since integer not null,
    primary key (event, subject)
) strict, without rowid;
