-- Each record of the audit says what the one before it said, as a digest of both: whoever changes or removes one
-- afterwards has to write all later ones anew. Records of before have none.
alter table audit add column chain blob check (chain is null or length(chain) = 32);
