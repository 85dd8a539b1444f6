import { LIMITS } from '../../core/limits.ts'

const KEPT = LIMITS.unreservedConcurrency.value
const ALL = LIMITS.projectConcurrency.value

/** What is refused is said in the words of whoever asked: of Lambda's clients, which read them, or of mayfly.json. */
export interface Words {
  /** @param free  what the project has beside the other functions' */
  readonly reservedPastProject: (reserved: number, free: number) => string
  readonly reservedBelowProvisioned: (reserved: number, provisioned: number) => string
  readonly provisionedPastReserved: (provisioned: number, reserved: number) => string
  readonly provisionedPastUnreserved: (provisioned: number, free: number) => string
  readonly provisionedPastProject: (provisioned: number, free: number) => string
}

export const OF_LAMBDA: Words = {
  reservedPastProject: () =>
    `Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [${KEPT}].`,
  reservedBelowProvisioned: (reserved, provisioned) =>
    ` ReservedConcurrentExecutions  ${reserved} should not be lower than function's total provisioned concurrency [${provisioned}].`,
  provisionedPastReserved: () => 'Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function',
  provisionedPastUnreserved: (_, free) => `Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [${free}].`,
  provisionedPastProject: () =>
    `Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [${KEPT}].`,
}

const atMost = (free: number) =>
  `at most ${Math.max(0, free - KEPT)} are left of the ${ALL} of the project, of which ${KEPT} stay for functions that reserve none`

export const OF_DEFINITION: Words = {
  reservedPastProject: (reserved, free) => `reservedConcurrency: ${reserved} calls are too many: ${atMost(free)}`,
  reservedBelowProvisioned: (reserved, provisioned) =>
    `reservedConcurrency: ${reserved} calls are fewer than the ${provisioned} sandboxes that are kept loaded for the function (\`provisioned\`): reserve as many at least, or keep fewer`,
  provisionedPastReserved: (provisioned, reserved) =>
    `provisioned: ${provisioned} sandboxes are more than the ${reserved} calls that \`reservedConcurrency\` lets run at once: keep fewer, or reserve more`,
  provisionedPastUnreserved: (provisioned, free) => `provisioned: ${provisioned} sandboxes are too many: ${atMost(free)}`,
  provisionedPastProject: (provisioned, free) => `provisioned: ${provisioned} sandboxes are too many: ${atMost(free)}`,
}
