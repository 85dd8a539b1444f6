import { useEffect, useState } from 'react'
import { ApiError, followQueue, type MomentInfo } from './api.ts'
import { Badge, Card, Failure, Time } from './parts.tsx'
import { hrefOf } from './route.ts'
import { saysReason } from './states.tsx'
import { t } from './text.ts'

/** The older ones are let go: what became of each stands in its life. */
const KEPT = 100
const MOST_SHOWN = 200
const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 15_000
const KINDS = { queued: 'plain', started: 'plain', succeeded: 'good', failed: 'warn', dead: 'bad' } as const
const isKind = (what: string): what is keyof typeof KINDS => what in KINDS

/** What happens in the queue while the page is open, the newest first; of one function or of all (''). */
export function Feed({ project, functionName }: { project: string; functionName: string }) {
  const [moments, setMoments] = useState<readonly (MomentInfo & { readonly n: number })[]>([])
  const [isLive, setIsLive] = useState(true)
  const [error, setError] = useState<unknown>(null)
  useEffect(() => {
    const left = new AbortController()
    let n = 0
    const go = async () => {
      for (let wait = FIRST_WAIT_MS; !left.signal.aborted; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
        try {
          setIsLive(true)
          setError(null)
          for await (const part of followQueue(project, functionName, left.signal)) {
            wait = FIRST_WAIT_MS
            const fresh = part.filter((one): one is MomentInfo => 'what' in one).map((one) => ({ ...one, n: n++ }))
            setMoments((before) => [...fresh.toReversed(), ...before].slice(0, KEPT))
          }
        } catch (failed) {
          if (left.signal.aborted) return
          if (failed instanceof ApiError) setError(failed)
        }
        setIsLive(false)
        await new Promise((resolve) => setTimeout(resolve, wait))
      }
    }
    setMoments([])
    void go()
    return () => left.abort()
  }, [project, functionName])
  return (
    <Card title={t('As it happens')} wide actions={<Badge kind={isLive ? 'good' : 'warn'}>{isLive ? t('live') : t('joining again…')}</Badge>}>
      {error !== null && <Failure error={error} />}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it is scrolled by keys */}
      <div className="log short" role="log" aria-label={t('As it happens')} tabIndex={0}>
        {moments.length === 0 && <p className="small">{t('Nothing yet: what is queued, begins, fails and ends from now on stands here.')}</p>}
        {moments.map((one) => (
          <div className="line" key={one.n}>
            <Time at={one.at} /> <Badge kind={isKind(one.what) ? KINDS[one.what] : 'plain'}>{isKind(one.what) ? t(one.what) : one.what}</Badge>{' '}
            <a href={hrefOf(project, 'events', one.invocation)}>{one.function}</a>
            {one.url !== undefined && ` → ${one.url}`}
            {one.attempt !== undefined && ` · ${t('attempt {n}', { n: one.attempt })}`}
            {one.reason !== undefined && ` · ${saysReason(one.reason)}`}
            {one.errorMessage && ` · ${[one.errorType, one.errorMessage.slice(0, MOST_SHOWN)].filter(Boolean).join(': ')}`}
            {one.nextAt !== undefined && (
              <>
                {' · '}
                {t('again at')} <Time at={one.nextAt} />
              </>
            )}
          </div>
        ))}
      </div>
    </Card>
  )
}
