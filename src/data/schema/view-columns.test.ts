import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { originsOf } from './view-columns.ts'

describe('the columns of a view', () => {
  it('come from where the outermost list says, whatever lies in it', () => {
    const inner = '({TARGETENTRY :expr {VAR :varno 1} :resno 1 :resname x :ressortgroupref 0 :resorigtbl 99 :resorigcol 9 :resjunk false})'
    const query = `({QUERY :commandType 1 :rtable ({RANGETBLENTRY :subquery {QUERY :targetList ${inner} :x <>} :relid 5}) :targetList ({TARGETENTRY :expr {VAR :varno 1 :varattno 2} :resno 1 :resname a\\)b :ressortgroupref 0 :resorigtbl 16384 :resorigcol 2 :resjunk false} {TARGETENTRY :expr {SUBLINK :subselect {QUERY :targetList ${inner}}} :resno 2 :resname n :ressortgroupref 0 :resorigtbl 0 :resorigcol 0 :resjunk false} {TARGETENTRY :expr {VAR} :resno 3 :resname <> :resorigtbl 16390 :resorigcol 1 :resjunk false}) :override 0})`
    assert.deepEqual(
      [...originsOf(query)],
      [
        [1, { relation: '16384', column: 2 }],
        [3, { relation: '16390', column: 1 }],
      ],
    )
  })
  it('of what cannot be read are none', () => assert.equal(originsOf('<>').size, 0))
})
