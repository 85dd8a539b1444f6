-- usage: what functions sent to others than the platform, and got of them, as the kernel counted it at their sandboxes.
-- It is told by sandbox, not by execution, and so is added to days at once.
alter table mayfly.usage_day
  add column egress_in bigint not null default 0,
  add column egress_out bigint not null default 0,
  alter column executions set default 0,
  alter column errors set default 0,
  alter column cut set default 0,
  alter column cold set default 0,
  alter column billed_ms set default 0,
  alter column billed_mb_ms set default 0,
  alter column bytes_in set default 0,
  alter column bytes_out set default 0;
