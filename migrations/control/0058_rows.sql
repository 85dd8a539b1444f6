-- triggers: those of rows were kept before anything started them; each project's database is told of them.
update mayfly.mirror set wanted = wanted + 1 where project_id in (select project_id from mayfly.trigger where kind = 'row');
