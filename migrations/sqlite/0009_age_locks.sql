-- What min_age is locked to in compliance mode, by the policy's uid: every length that was asked for and may
-- still be taken back, and the longest that may not. It outlives its policy, whose snapshots it keeps.
create table age_locks (
    policy_uid text not null check (length(policy_uid) > 0),
    min_age_ms integer not null check (min_age_ms > 0),
    -- Since when, as far as time had come by all that the journal had seen.
    since integer not null,
    primary key (policy_uid, min_age_ms)
) strict, without rowid;
