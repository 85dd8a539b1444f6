-- usage: which process of the node began an execution, so that what one of them leaves open when it dies is told from what the others run.
alter table mayfly.invocation_meter add column process text;
