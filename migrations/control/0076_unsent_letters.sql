-- invoke: what the dead-letter queue of a function did not take, with the attributes that go with it; and where a letter went.
alter table mayfly.dead_letter add column attributes text;
alter table mayfly.told_outcome add column what text not null default 'outcome' check (what in ('outcome', 'letter'));
alter table mayfly.told_outcome drop constraint told_outcome_pkey;
alter table mayfly.told_outcome add primary key (invocation_id, what);
