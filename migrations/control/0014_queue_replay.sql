-- invoke: an entry that stands behind too many functions is given up, and one project's share of the queue can be read.
alter table mayfly.dead_letter drop constraint dead_letter_reason_check;
alter table mayfly.dead_letter add constraint dead_letter_reason_check
  check (reason in ('attempts', 'age', 'node', 'function_gone', 'recursion'));
create index entry_payload_project on mayfly.entry_payload (project, entry_id);
