-- usage: where the time of an execution went, beside what it waited for a sandbox and what loading took.
alter table mayfly.invocation_meter
  -- From when the queue took its event to the start of this attempt. Null where nothing was queued, and where it is not known.
  add column queue_ms double precision,
  -- The part of duration_ms after the answer had begun. Null while it runs, and of executions from before this was measured.
  add column response_ms double precision;
