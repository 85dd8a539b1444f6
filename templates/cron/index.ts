import type { ScheduleHandler } from '@mayfly/functions'

export const handler: ScheduleHandler = async (event) => {
  const day = event.time.slice(0, 10)
  console.log(`the report of ${day}, asked for by ${event.resources[0] ?? 'nobody'}`)
  return { day }
}
