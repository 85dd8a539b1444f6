-- migrations: which files of a project's own migrations its database has seen.

-- It is the owner's to write, in the transaction of the file that it speaks of: so a file and its row stand or fall together.
create table mayfly.user_migration (
  name text primary key,
  checksum text not null,
  applied_at timestamptz not null default clock_timestamp(),
  -- False while, or after, a file without a transaction broke off in the middle.
  finished boolean not null default true
);
grant select, insert, update, delete on mayfly.user_migration to :"owner";
