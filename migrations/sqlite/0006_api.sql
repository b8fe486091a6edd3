-- Callers write policies too, and are told which version they read and replaced.
alter table policies add column version integer not null default 1 check (version >= 1);
-- Which of all writes to policies was the latest to this one.
alter table policies add column seq_no integer not null default 0 check (seq_no >= 0);
alter table policies add column updated_at integer not null default 0;
-- When it was last enabled; means nothing while it is not.
alter table policies add column enabled_at integer not null default 0;
-- Whether it was started by command although its file says otherwise.
alter table policies add column started integer not null default 0 check (started = 0 or started = 1);

update policies set updated_at = adopted_at, enabled_at = adopted_at, seq_no = numbered.seq_no
from (select policy_uid, row_number() over (order by adopted_at, policy_uid) - 1 as seq_no from policies) as numbered
where numbered.policy_uid = policies.policy_uid;

-- The number the next write to a policy gets.
alter table instance add column next_seq_no integer not null default 0 check (next_seq_no >= 0);
-- Raised when a copy of the journal is put back: its numbers are given a second time.
alter table instance add column primary_term integer not null default 1 check (primary_term >= 1);
update instance set next_seq_no = (select count(*) from policies);

-- What was there before and after, what the caller was answered, and under which key they asked.
alter table audit add column before text;
alter table audit add column after text;
alter table audit add column answer text;
alter table audit add column request text check (request is null or length(request) > 0);
-- Of what was asked under that key.
alter table audit add column fingerprint text;

create unique index audit_request on audit (who, request) where request is not null;
-- What was begun on files and is not known to be done.
create index audit_open on audit (number) where answer is null and (what = 'put' or what = 'remove');

-- What a caller was answered, for whoever asks again under the same key.
create table replies (
    number integer not null primary key,
    status integer not null check (status >= 100 and status <= 999),
    location text,
    body text not null,
    at integer not null
) strict;

create index replies_at on replies (at);
