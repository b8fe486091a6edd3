-- What was counted since the journal began, so that it goes on rising when history is trimmed. A row comes with
-- the first run or skip of a workflow, and is written in the commit that settles the run.
--
-- That its policy is known is not asked again here: runs and skips are told of by its workflow.
create table totals (
    policy_uid text not null,
    kind text not null check (kind = 'creation' or kind = 'deletion'),
    -- Settled runs, by outcome.
    succeeded integer not null default 0 check (succeeded >= 0),
    failed integer not null default 0 check (failed >= 0),
    time_limit_exceeded integer not null default 0 check (time_limit_exceeded >= 0),
    held integer not null default 0 check (held >= 0),
    cancelled integer not null default 0 check (cancelled >= 0),
    -- Triggers that were consumed without a run, by reason.
    missed integer not null default 0 check (missed >= 0),
    overlap integer not null default 0 check (overlap >= 0),
    watched integer not null default 0 check (watched >= 0),
    clock_moved_back integer not null default 0 check (clock_moved_back >= 0),
    -- Runs that failed or exceeded their time limit since the latest that succeeded.
    failures integer not null default 0 check (failures >= 0),
    -- The latest settled run, and when one last succeeded.
    latest_outcome text,
    latest_began_at integer,
    latest_ended_at integer,
    succeeded_at integer,
    -- Own snapshots and their bytes, as a deletion run last saw them; no bytes where a size is not known.
    own integer check (own >= 0),
    own_bytes integer check (own_bytes >= 0),
    listed_at integer,
    primary key (policy_uid, kind),
    check ((latest_outcome is null) = (latest_ended_at is null)),
    check ((latest_outcome is null) = (latest_began_at is null)),
    check ((own is null) = (listed_at is null)),
    check (own_bytes is null or own is not null)
) strict, without rowid;

-- From here on they are counted; up to here history says what it still has. `outcome` and `began_at` are those of
-- the row with the latest end.
insert into totals (policy_uid, kind, succeeded, failed, time_limit_exceeded, held, cancelled, failures,
        latest_outcome, latest_began_at, latest_ended_at, succeeded_at)
    select r.policy_uid, r.kind, sum(r.outcome = 'succeeded'), sum(r.outcome = 'failed'),
        sum(r.outcome = 'time_limit_exceeded'), sum(r.outcome = 'held'), sum(r.outcome = 'cancelled'),
        sum((r.outcome = 'failed' or r.outcome = 'time_limit_exceeded') and r.number > coalesce(w.latest_good, 0)),
        r.outcome, r.began_at, max(r.ended_at), (select g.ended_at from runs g where g.number = w.latest_good)
    from runs r join workflows w on w.policy_uid = r.policy_uid and w.kind = r.kind
    where r.ended_at is not null
    group by r.policy_uid, r.kind;

insert into totals (policy_uid, kind, missed, overlap, watched, clock_moved_back)
    select policy_uid, kind, sum(case when reason = 'missed' then count else 0 end),
        sum(case when reason = 'overlap' then count else 0 end),
        sum(case when reason = 'watched' then count else 0 end),
        sum(case when reason = 'clock_moved_back' then count else 0 end)
    from skips where true
    group by policy_uid, kind
    on conflict (policy_uid, kind) do update
    set missed = excluded.missed, overlap = excluded.overlap, watched = excluded.watched,
        clock_moved_back = excluded.clock_moved_back;

-- The latest plan counted what it had listed.
insert into totals (policy_uid, kind, own, listed_at)
    select w.policy_uid, w.kind, a.own, a.made_at
    from workflows w join plans a on a.number = w.latest_plan where w.kind = 'deletion'
    on conflict (policy_uid, kind) do update set own = excluded.own, listed_at = excluded.listed_at;
