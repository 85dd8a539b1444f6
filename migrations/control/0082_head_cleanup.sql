-- invoke: what is dead at the head of the queue is walked over by each look for work. By itself PostgreSQL leaves it in the
-- indexes until it is spread over two of a hundred pages of the table: the deeper the queue, the longer.
alter table mayfly.entry set (vacuum_index_cleanup = on);
