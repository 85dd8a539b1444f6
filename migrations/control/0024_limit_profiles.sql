-- core: which limits the functions of a project are held to; src/core/limit-profiles.ts has their numbers.
alter table mayfly.project
  add column limit_profile text not null default 'mayfly' check (limit_profile in ('mayfly', 'lambda', 'lambda-2017'));
