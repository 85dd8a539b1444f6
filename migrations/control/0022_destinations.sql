-- invoke: what was to be told of a call that has ended, and cannot be.
alter table mayfly.dead_letter drop constraint dead_letter_reason_check;
alter table mayfly.dead_letter add constraint dead_letter_reason_check
  check (reason in ('attempts', 'age', 'node', 'function_gone', 'recursion', 'destination'));
