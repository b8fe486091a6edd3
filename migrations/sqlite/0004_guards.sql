-- What the guards of deletion remember: held plans and what people said of them, what the clock is worth,
-- under which version a plan last went ahead.

-- As before, with any number of guards that hold a plan, what the clock was worth, and a person's answer.
create table plans_next (
    number integer primary key,
    run_id text not null,
    policy_uid text not null references policies (policy_uid) deferrable initially deferred,
    made_at integer not null,
    own integer not null check (own >= 0),
    condemned integer not null check (condemned >= 0),
    held text,
    -- What the clock was worth, beside `entries`.
    clock text,
    entries text,
    -- Under which key notices tell of a held plan: one held anew for the same reason is no news.
    episode text,
    answer text check (answer = 'approved' or answer = 'refused'),
    answered_at integer,
    answered_by text,
    -- The run that carries out what was approved.
    approved_run text,
    check (entries is not null or (condemned = 0 and held is null)),
    check ((held is null) = (episode is null)),
    check ((answer is null) = (answered_at is null)),
    check ((answer is null) = (answered_by is null)),
    check (answer is null or held is not null),
    check ((approved_run is not null) = (answer is not null and answer = 'approved'))
) strict;

insert into plans_next (number, run_id, policy_uid, made_at, own, condemned, held, entries, episode)
select number, run_id, policy_uid, made_at, own, condemned,
    case when held is null then null else '[' || held || ']' end, entries,
    case when held is null then null else run_id end
from plans order by number;

drop table plans;
alter table plans_next rename to plans;

create index plans_of_policy on plans (policy_uid);
create index plans_made on plans (made_at);
create index plans_held on plans (number) where held is not null;
create index plans_approved on plans (approved_run) where approved_run is not null;

-- What is known of the wall clock.
create table clock (
    one integer not null primary key check (one = 1),
    state text not null
) strict;

-- The program that wrote here last; another one looks at each repository before it deletes.
alter table instance add column version text not null default '';

-- The version of the policy under which a plan last went ahead, where its condition was another one.
alter table workflows add column former text check (former is null or kind = 'deletion');
-- When a deletion last did all there was to do; before the first, when the policy came.
alter table workflows add column cleared_at integer check (cleared_at is null or kind = 'deletion');
-- By what the brake is measured since it held a plan first: when that was, and how many snapshots there were.
alter table workflows add column braked_at integer check (braked_at is null or kind = 'deletion');
alter table workflows add column braked_own integer
    check ((braked_own is null) = (braked_at is null) and (braked_own is null or braked_own >= 0));
-- Whether the next listing is one to look at only.
alter table workflows add column unlooked integer not null default 0
    check (unlooked = 0 or (unlooked = 1 and kind = 'deletion'));

update workflows
set cleared_at = (select r.began_at from runs r where r.number = workflows.latest_good)
where kind = 'deletion';
