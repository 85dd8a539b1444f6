-- functions: a page of the list costs what it shows, however many functions a project has.

create index function_in_order on mayfly.function (project_id, name collate "C");
