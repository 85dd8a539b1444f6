import { markerOf, openVariant, Told, type Variant } from './conformance-table.ts'

// A node of its own for the suite of drivers: it starts one sandbox, says what descriptors that has, and waits to be killed.
const [variant, name, slots] = process.argv.slice(2) as [Variant, string, string]
const driver = await openVariant(variant, name)
const told = await Told.start(driver, slots, 's-1')
await told.ask('children', { count: 2, marker: markerOf(slots) })
process.stdout.write(`${JSON.stringify(await told.ask('links'))}\n`)
setInterval(() => {}, 60_000)
