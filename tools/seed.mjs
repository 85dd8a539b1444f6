import fc from 'fast-check'

// A gate says the same of the same commit: what property tests draw is fixed. `MAYFLY_TEST_SEED=random` (or a number) draws otherwise.
const asked = process.env.MAYFLY_TEST_SEED
if (asked !== 'random') fc.configureGlobal({ seed: asked === undefined ? 20_260_101 : Number(asked) })
