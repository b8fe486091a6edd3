-- Work of hours that is no policy's run: a repository maintained, a snapshot verified. A row is there
-- before the outside is asked. One without an end when a daemon starts was cut off with the one before.
create table operations (
    number integer primary key,
    kind text not null check (kind = 'maintain' or kind = 'verify'),
    subject text not null check (length(subject) > 0),
    who text not null,
    began_at integer not null,
    ended_at integer,
    outcome text check (outcome = 'succeeded' or outcome = 'failed' or outcome = 'interrupted'),
    message text,
    check ((ended_at is null) = (outcome is null)),
    check ((ended_at is null) = (message is null))
) strict;

create index operations_of_subject on operations (kind, subject, number);
create index operations_under_way on operations (number) where ended_at is null;
create index operations_ended on operations (ended_at) where ended_at is not null;

-- How each repository's maintenance went was kept among the chores, also of repositories long gone.
delete from chores where job like 'maintain %';
