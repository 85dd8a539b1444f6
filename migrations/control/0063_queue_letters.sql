-- invoke: what was to be told to a queue of the project, and could not be; sent again, it goes there.
alter table mayfly.dead_letter add column queue text;
