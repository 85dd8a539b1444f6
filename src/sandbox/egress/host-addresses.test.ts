import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { hostRanges } from './host-addresses.ts'

const TABLES = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 192.168.77.0
        /24 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     |-- 93.184.217.0
        /32 host LOCAL
        /24 host LOCAL
     |-- 93.184.217.1
        /32 host LOCAL
Id 100:
     |-- 0.0.0.0
        /0 host LOCAL
     |-- 203.0.113.7
        /32 link ANYCAST
`

describe('addresses of the host', () => {
  it('are all that the kernel takes for its own, of one leaf several lengths', () => {
    const ranges = ['127.0.0.0/8', '127.0.0.1/32', '127.255.255.255/32', '203.0.113.7/32', '93.184.217.0/24', '93.184.217.0/32', '93.184.217.1/32']
    assert.deepEqual(hostRanges(TABLES), ranges)
  })

  it('are never none: what cannot be read is a fault, and no machine without addresses', () => {
    for (const text of ['', 'Main:\n  |-- 0.0.0.0\n    /0 universe UNICAST\n', '  /32 host LOCAL\n']) assert.throws(() => hostRanges(text), /names no address/)
  })
})
