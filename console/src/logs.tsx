import { memo, useEffect, useRef, useState } from 'react'
import { ApiError, followLogs, type LogLine } from './api.ts'
import { count } from './format.ts'
import { Badge, Failure, Time } from './parts.tsx'
import { t } from './text.ts'

/** More lines than this are let go, the oldest first. */
const KEPT = 2000
const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 15_000

/** What a function writes, as it writes it; a stream that breaks off is taken up where it ended. */
export function LiveLogs({ project, name }: { project: string; name: string }) {
  const [lines, setLines] = useState<readonly LogLine[]>([])
  const [dropped, setDropped] = useState(0)
  const [state, setState] = useState<'joining' | 'live' | 'waiting'>('joining')
  const [error, setError] = useState<unknown>(null)
  const [paused, setPaused] = useState(false)
  const [sought, setSought] = useState('')
  const held = useRef<LogLine[]>([])
  const stopped = useRef(false)
  const box = useRef<HTMLDivElement>(null)
  const atEnd = useRef(true)

  useEffect(() => {
    const left = new AbortController()
    let came: LogLine[] = []
    const show = () => {
      if (came.length === 0 || stopped.current) {
        if (came.length > KEPT) came = came.slice(-KEPT)
        return
      }
      const fresh = came
      came = []
      held.current = [...held.current, ...fresh]
      const over = held.current.length - KEPT
      if (over > 0) {
        held.current = held.current.slice(over)
        setDropped((before) => before + over)
      }
      setLines(held.current)
    }
    const drawing = setInterval(show, 100)
    const follow = async () => {
      let after: string | null = null
      let wait = FIRST_WAIT_MS
      while (!left.signal.aborted) {
        try {
          setState('live')
          setError(null)
          for await (const part of followLogs(project, name, after, left.signal)) {
            wait = FIRST_WAIT_MS
            after = part.at(-1)?.seq ?? after
            came.push(...part)
          }
        } catch (failed) {
          if (left.signal.aborted) return
          if (failed instanceof ApiError) setError(failed)
        }
        setState('waiting')
        await new Promise((resolve) => setTimeout(resolve, wait))
        wait = Math.min(wait * 2, LONGEST_WAIT_MS)
      }
    }
    void follow()
    return () => {
      left.abort()
      clearInterval(drawing)
    }
  }, [project, name])

  useEffect(() => {
    if (atEnd.current && box.current) box.current.scrollTop = box.current.scrollHeight
  }, [lines, sought])

  const pause = () => {
    stopped.current = !paused
    setPaused(!paused)
  }
  const words = sought.toLowerCase()
  const shown = words === '' ? lines : lines.filter((line) => line.text.toLowerCase().includes(words))
  return (
    <>
      <div className="log-tools">
        <Badge kind={paused || state !== 'live' ? 'warn' : 'good'}>
          {paused ? t('paused') : state === 'waiting' ? t('joining again…') : state === 'joining' ? t('joining…') : t('live')}
        </Badge>
        <input
          type="search"
          aria-label={t('Only lines with')}
          placeholder={t('Only lines with')}
          value={sought}
          onChange={(event) => setSought(event.target.value)}
        />
        <button type="button" aria-pressed={paused} onClick={pause}>
          {paused ? t('Resume') : t('Pause')}
        </button>
        <button
          type="button"
          onClick={() => {
            held.current = []
            setLines([])
            setDropped(0)
          }}
        >
          {t('Clear')}
        </button>
      </div>
      {error !== null && <Failure error={error} />}
      <div
        className="log"
        ref={box}
        role="log"
        aria-label={t('Log of {name}', { name })}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it is scrolled by keys
        tabIndex={0}
        onScroll={(event) => {
          const { scrollTop, scrollHeight, clientHeight } = event.currentTarget
          atEnd.current = scrollHeight - scrollTop - clientHeight < 24
        }}
      >
        {dropped > 0 && <p className="small">{t('{n} older lines are left out here.', { n: count(dropped) })}</p>}
        {shown.length === 0 && <p className="small">{words === '' ? t('Nothing yet: lines stand here as they are written.') : t('No such line.')}</p>}
        {shown.map((line) => (
          <Line key={line.seq} of={line} />
        ))}
      </div>
    </>
  )
}

/** What Node's runtime puts before a line (time, invocation, level) as Lambda's does: the time stands there already. */
const PREFIX = /^\d{4}-\d\d-\d\dT[\d:.]+Z\t[0-9a-f-]{36}\t(\w+)\t/

/** Drawn once: some thousand of them stand there while more come. */
const Line = memo(({ of }: { of: LogLine }) => {
  const [before = '', level = ''] = PREFIX.exec(of.text) ?? []
  return (
    <div className={`line ${of.source}`} title={of.invocation}>
      <Time at={of.at} /> {level !== '' && level !== 'INFO' && <span className="level">{level} </span>}
      <span>{of.text.slice(before.length)}</span>
    </div>
  )
})
