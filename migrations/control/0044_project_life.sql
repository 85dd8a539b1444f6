-- core: whether a project rests, and what one that is being made is a copy of.
alter table mayfly.project
  -- Set when nothing of it runs any more and no event of it waits; null while it may be used.
  add column paused_at timestamptz,
  -- The project that it begins as a copy of. It may be gone by then: no reference.
  add column cloned_from uuid;
