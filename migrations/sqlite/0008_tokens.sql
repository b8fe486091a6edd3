-- What lets callers in who come over the network. A token itself is nowhere: only its hash.
create table tokens (
    -- A part of the token, by which it is looked up. No secret.
    id text primary key check (length(id) > 0),
    name text not null check (length(name) > 0),
    hash blob not null check (length(hash) = 32),
    role text not null check (role = 'viewer' or role = 'operator' or role = 'admin'),
    created_at integer not null,
    created_by text not null,
    expires_at integer,
    last_used_at integer,
    removed_at integer
) strict, without rowid;

create unique index tokens_living on tokens (name) where removed_at is null;
create index tokens_removed on tokens (removed_at) where removed_at is not null;
