-- functions: layers, whose versions functions name by their ARN.

create table mayfly.layer (
  id uuid primary key,
  project_id uuid not null references mayfly.project (id) on delete cascade,
  name text not null check (name ~ '^[a-zA-Z0-9_-]{1,140}$'),
  -- The last number that was given out: none is ever given twice, also when what had it is deleted.
  published int not null default 0,
  unique (project_id, name)
);

create table mayfly.layer_version (
  id uuid primary key,
  layer_id uuid not null references mayfly.layer (id) on delete cascade,
  project_id uuid not null,
  number int not null check (number > 0),
  description text not null,
  license text,
  -- What it says that it fits; null when it says nothing.
  runtimes text[],
  architectures text[],
  artefact text not null,
  code_bytes bigint not null,
  unpacked_bytes bigint not null,
  -- Statements of who may read it, in the order in which they came.
  policy jsonb not null default '[]',
  policy_revision_id uuid not null,
  published_at timestamptz not null default clock_timestamp(),
  -- Nobody finds it any more; it stays while a version of a function uses it.
  deleted_at timestamptz,
  unique (layer_id, number),
  foreign key (project_id, artefact) references mayfly.artefact (project_id, sha256) deferrable initially deferred
);

create index layer_version_artefact on mayfly.layer_version (project_id, artefact);

-- What lies in /opt of a version, from below to above.
create table mayfly.function_version_layer (
  version_id uuid not null references mayfly.function_version (id) on delete cascade,
  position int not null,
  layer_version_id uuid not null references mayfly.layer_version (id) deferrable initially deferred,
  primary key (version_id, position)
);

create index function_version_layer_used on mayfly.function_version_layer (layer_version_id);

-- The definition of a version names its layers; whoever makes a version, the rows that keep them come with it.
create function mayfly.function_version_keeps_layers() returns trigger language plpgsql as $$
declare
  kept int;
begin
  insert into mayfly.function_version_layer (version_id, position, layer_version_id)
  select new.id, named.position, found.id
    from jsonb_array_elements_text(new.definition -> 'layers') with ordinality as named (arn, position)
    join mayfly.layer on layer.project_id = new.project_id and layer.name = split_part(named.arn, ':', 7)
    join mayfly.layer_version found on found.layer_id = layer.id and found.number::text = split_part(named.arn, ':', 8);
  get diagnostics kept = row_count;
  if kept <> jsonb_array_length(new.definition -> 'layers') then
    raise exception 'version % names a layer that is not there', new.id using errcode = 'foreign_key_violation';
  end if;
  return null;
end
$$;

create trigger function_version_keeps_layers after insert on mayfly.function_version
  for each row when (jsonb_array_length(coalesce(new.definition -> 'layers', '[]')) > 0) execute function mayfly.function_version_keeps_layers();

-- The layers of a version in their order, for whoever reads versions.
create function mayfly.layers_of(version uuid) returns jsonb language sql stable as $$
  select coalesce(jsonb_agg(jsonb_build_object('artefact', layer_version.artefact, 'codeBytes', layer_version.code_bytes) order by used.position), '[]')
    from mayfly.function_version_layer used
    join mayfly.layer_version on layer_version.id = used.layer_version_id
   where used.version_id = version
$$;
