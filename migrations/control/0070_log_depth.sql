-- observe: how many functions stood before the call that wrote the lines, so that who is started by them is told.
alter table mayfly.log_chunk add column depth smallint not null default 0;
