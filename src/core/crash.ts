/** Moments of the photo job, of a message, of an entry's way through the queue, of a deployment, and of the life of a project, at which a test ends the node, to see that nothing is lost. */
export const CRASH_POINTS = [
  'afterBytesFsync',
  'afterObjectCommit',
  'afterRelay',
  'afterOutboxDelete',
  'beforeFiringCommit',
  'afterFiring',
  'beforeLinesCommit',
  'afterLinesCommit',
  'beforePublishCommit',
  'afterPublishCommit',
  'beforeEnqueueCommit',
  'afterEnqueueCommit',
  'beforeLease',
  'afterLease',
  'duringRun',
  'afterRunBeforeRecord',
  'afterRunBeforeSettle',
  'beforeAckCommit',
  'afterAckCommit',
  'beforeRetryCommit',
  'afterRetryCommit',
  'beforeBuryCommit',
  'afterBuryCommit',
  'afterWebhookBeforeSettle',
  'afterThumbnailCommit',
  'afterSendCommit',
  'afterReceiveCommit',
  'afterDeleteCommit',
  'afterDeployStep',
  'afterPauseLetGo',
  'afterPauseCommit',
  'afterResumeCommit',
  'afterCloneDatabase',
  'afterCloneObjects',
] as const
export type CrashPoint = (typeof CRASH_POINTS)[number]

/** Called at each of these moments; does nothing unless a test asked for it. */
export type Crash = (point: CrashPoint) => void

export const noCrash: Crash = () => {}

/**
 * Ends the process at the given point as `kill -9` does: nothing is flushed, nothing is given back.
 * @param asked  `afterLease`, or `afterLease:3` for the third time that it comes by; or the absolute path of a file that
 * says so from when it is written, so that a node need not start again to be ended elsewhere
 * @param read  what such a file says, null while it is not there
 * @throws RangeError when it names no point
 */
export function crashAt(asked: string | undefined, kill: (point: CrashPoint) => void, read: (file: string) => string | null): Crash {
  if (asked === undefined || asked === '') return noCrash
  if (asked.startsWith('/')) return crashAsSaid(asked, kill, read)
  const [name = '', times = '1'] = asked.split(':')
  const wanted = CRASH_POINTS.find((point) => point === name)
  if (!wanted || !/^[1-9]\d{0,3}$/.test(times)) throw new RangeError(`${asked} is none of ${CRASH_POINTS.join(', ')}`)
  let left = Number(times)
  return (point) => {
    if (point !== wanted) return
    left--
    if (left === 0) kill(point)
  }
}

/** Looks at each moment what the file says by then. */
function crashAsSaid(file: string, kill: (point: CrashPoint) => void, read: (file: string) => string | null): Crash {
  let said: string | null = null
  let crash = noCrash
  return (point) => {
    const says = read(file)
    if (says !== said) {
      said = says
      crash = crashAt(says ?? '', kill, () => null)
    }
    crash(point)
  }
}
