-- What people want kept, whatever the policies say. The snapshot carries the same as a label where its
-- repository can change labels; while either says so, it is held. Nothing here says that it exists.
create table holds (
    repository text not null check (length(repository) > 0),
    snapshot text not null check (length(snapshot) > 0),
    -- Whose it was when it was held, for counting; null where it was no policy's of ours.
    policy_uid text,
    until integer,
    compliance integer not null check (compliance = 0 or compliance = 1),
    -- When it was made, or made compliant.
    made_at integer not null,
    reason text not null check (length(reason) > 0),
    who text not null,
    primary key (repository, snapshot)
) strict, without rowid;

-- As before, with what people do to single snapshots.
create table operations_next (
    number integer primary key,
    kind text not null
        check (kind = 'maintain' or kind = 'verify' or kind = 'hold' or kind = 'adopt' or kind = 'expire'),
    subject text not null check (length(subject) > 0),
    who text not null,
    began_at integer not null,
    ended_at integer,
    outcome text check (outcome = 'succeeded' or outcome = 'failed' or outcome = 'interrupted'),
    message text,
    check ((ended_at is null) = (outcome is null)),
    check ((ended_at is null) = (message is null))
) strict;

insert into operations_next (number, kind, subject, who, began_at, ended_at, outcome, message)
select number, kind, subject, who, began_at, ended_at, outcome, message from operations order by number;

drop table operations;
alter table operations_next rename to operations;

create index operations_of_subject on operations (kind, subject, number);
create index operations_under_way on operations (number) where ended_at is null;
create index operations_ended on operations (ended_at) where ended_at is not null;
