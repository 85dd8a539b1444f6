// The Node runtime: what runs inside a sandbox. It speaks runtimes/PROTOCOL.md on descriptors 3 and 4, loads the
// user's handler once and runs calls. User code shares this process: what is needed of the language afterwards is
// taken before it loads, and the host trusts none of it anyway. Nothing is imported after the hello.
import { hearIdle } from './callbacks.mjs'
import { onCancel, onCredit, onData, onEnd, start, startAhead } from './calls.mjs'
import { EMPTY, F, T } from './frames.mjs'
import { captureConsole, captureStream, grantLogs } from './logs.mjs'
import { hearEnds } from './outcomes.mjs'
import { listenRelay, onRelay, relayAddress } from './relay.mjs'
import { code } from './running.mjs'
import { become, prepare, shutDown } from './specialise.mjs'
import { warm } from './warm.mjs'
import { control, relay } from './wire.mjs'
import { handedPort, handOver, isWrapped, takeOver } from './wrapped.mjs'

const { parse, stringify } = JSON

let specialiseParts = []
let announced = null
/** A call that came before the code was there. */
let ahead = null
/** Resolves when it is what was announced, and that call has begun. */
let becoming = null

function onControl(type, flags, id, payload) {
  switch (type) {
    case T.call:
      if (code.handler === null) ahead = [id, flags, Buffer.from(payload)]
      else start(id, flags, payload)
      return
    case T.data:
      onData(id, payload)
      return
    case T.end:
      onEnd(id, flags)
      return
    case T.credit:
      if (flags & F.stdout) grantLogs(payload.readUInt32LE(0))
      else onCredit(id, payload.readUInt32LE(0))
      return
    case T.cancel:
      onCancel(id)
      return
    case T.specialise: {
      if (announced === null) specialiseParts.push(Buffer.from(payload))
      if (announced === null && flags & (F.done | F.fin)) {
        announced = parse((specialiseParts.length === 1 ? specialiseParts[0] : Buffer.concat(specialiseParts)).toString('utf8'))
        specialiseParts = []
        if (!isWrapped(announced)) prepare(announced)
      }
      if (!(flags & F.fin)) return
      if (isWrapped(announced)) handOver(announced, listener)
      else becoming = become(announced).then(runAhead)
      return
    }
    case T.shutdown:
      shutDown()
      return
    case T.warm:
      warm(parse(payload.toString('utf8')), rehearse).then(() => control.send(T.warmed, 0, 0))
  }
}

/** When the host has been told that the code is there: from then on the time of the call runs. Where it does not load, there is no call. */
function runAhead() {
  if (ahead === null || code.handler === null) return
  control.flush()
  startAhead(...ahead)
  ahead = null
}

/** It becomes what these bytes say and runs this call, by the frames that it hears when that is meant; then it is nobody's again. */
async function rehearse(fields, call) {
  onControl(T.specialise, F.done, 0, fields)
  onControl(T.call, F.fin, 1, call)
  onControl(T.specialise, F.fin, 0, EMPTY)
  await becoming
  announced = null
  becoming = null
  ahead = null
}

const handed = handedPort()
control.take = onControl
relay.take = onRelay
hearEnds()
hearIdle()
captureStream(process.stdout, F.stdout)
captureStream(process.stderr, F.stderr)
captureConsole()
const listener = listenRelay(handed ?? Number(process.argv[2] ?? 9001), (port) => {
  relayAddress.port = port
  if (handed !== null) {
    takeOver().then((fields) => {
      prepare(fields)
      become(fields)
    })
    return
  }
  control.send(
    T.hello,
    0,
    0,
    Buffer.from(
      stringify({
        version: 1,
        runtime: `nodejs${process.versions.node.split('.')[0]}.x`,
        node: process.version,
        relayPort: port,
        features: ['fetch', 'relay', 'compile-cache', 'stream', 'ahead'],
      }),
    ),
  )
})
