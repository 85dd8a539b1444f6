import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import type { Hierarchies } from '../../lib/cgroup.ts'
import { systemClock } from '../../lib/clock.ts'
import { nodeWeight } from '../../lib/own-group.ts'
import { ServerMemory } from './memory.ts'

// Plain folders stand for the kernel's: what is written where is seen on any host.
for (const version of [1, 2] as const)
  test(`servers go before sandboxes as the node does, by version ${version} of control groups`, async (t) => {
    if (process.getuid?.() !== 0) return t.skip('control groups are made by root alone')
    const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-memory-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const tree = (name: string) => {
      const at = path.join(folder, version === 2 ? 'all' : name)
      mkdirSync(at, { recursive: true })
      return { path: at, version }
    }
    const [memory, cpu] = [tree('memory'), tree('cpu')]
    const unified = version === 2 ? memory.path : null
    const hierarchies: Hierarchies = { unified, memory, pids: null, cpu, freezerV1: null, devicesV1: null, all: [memory.path] }
    const servers = await ServerMemory.open('mayfly-pg-x', 700, systemClock, hierarchies)
    assert.equal(servers.heldMb, 700)
    const entered = await servers.enter('control')
    assert.equal(entered, path.join(memory.path, 'mayfly-pg-x', 'control', 'cgroup.procs'))
    if (version === 2) {
      assert.equal(readFileSync(path.join(cpu.path, 'mayfly-pg-x', 'cpu.weight'), 'utf8'), String(nodeWeight()))
      assert.equal(readFileSync(path.join(memory.path, 'mayfly-pg-x', 'control', 'memory.max'), 'utf8'), String(700 * 1024 * 1024))
    } else {
      // There the tree that shares the processors is another one, and servers stay with the node.
      assert.equal(existsSync(path.join(cpu.path, 'mayfly-pg-x')), false)
    }
  })
