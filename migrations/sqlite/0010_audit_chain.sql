-- Each record of the audit says what the one before it said, as a digest of both: whoever changes or removes one
-- afterwards has to write all later ones anew. Records of before have none.
alter table audit add column chain blob check (chain is null or length(chain) = 32);

-- Up to which number records have none, which record went with history last, and what its digest was.
alter table instance add column audit_unchained integer not null default 0;
alter table instance add column audit_gone integer not null default 0;
alter table instance add column audit_gone_chain blob check (audit_gone_chain is null or length(audit_gone_chain) = 32);
update instance set
    audit_unchained = coalesce((select max(number) from audit), 0),
    audit_gone = coalesce((select min(number) - 1 from audit), 0);
