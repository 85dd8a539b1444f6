import { type AliasInfo, api, type VersionInfo } from './api.ts'
import { count } from './format.ts'
import { useLoaded } from './load.ts'
import { Badge, Shown, Table, Time } from './parts.tsx'
import { Provisioned } from './provisioned.tsx'
import { t } from './text.ts'

const SHOWN = 20

/** What a function's published versions are, and which aliases send calls to each. */
export function Versions({ project, name }: { project: string; name: string }) {
  const versions = useLoaded(
    `${project}/${name}`,
    async (signal) => {
      const [all, aliases] = await Promise.all([api.versions(project, name, signal), api.aliases(project, name, signal)])
      return { all, aliases }
    },
    15_000,
  )
  return (
    <Shown
      of={versions}
      isEmpty={({ all }) => all.length === 0}
      empty={<p>{t('No version is published. `npx mayfly promote` publishes what the function is now and names it `live`.')}</p>}
    >
      {({ all, aliases }) => (
        <Table
          label={t('Versions')}
          rows={all.slice(-SHOWN).toReversed()}
          keyOf={(one) => one.version}
          columns={[
            { head: t('Version'), main: true, cell: (one) => one.version },
            { head: t('Aliases'), wide: true, cell: (one) => <Names of={one} aliases={aliases} /> },
            ...(all.some((one) => one.provisioned !== null)
              ? [{ head: t('Provisioned'), cell: (one: VersionInfo) => one.provisioned && <Provisioned of={one.provisioned} /> }]
              : []),
            { head: t('Published'), cell: (one) => <Time at={one.publishedAt} /> },
          ]}
        />
      )}
    </Shown>
  )
}

function Names({ of, aliases }: { of: VersionInfo; aliases: readonly AliasInfo[] }) {
  const shareOf = ({ version, other }: AliasInfo) => (other === null ? 1 : version === of.version ? 1 - other.weight : other.weight)
  return (
    <span className="keys">
      {aliases
        .filter((alias) => of.aliases.includes(alias.name))
        .map((alias) => (
          <Badge key={alias.name} kind="plain">
            {alias.name}
            {alias.other !== null && ` ${count(Math.round(shareOf(alias) * 100))} %`}
          </Badge>
        ))}
    </span>
  )
}
