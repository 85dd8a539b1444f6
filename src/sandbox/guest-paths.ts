import type { GuestPaths } from './types.ts'

type Places = Pick<GuestPaths, 'code' | 'opt' | 'lang' | 'runtime'>

const joined = (...places: readonly (string | null)[]) => places.filter((place) => place !== null).join(':')

/** Where programs are looked for. */
export const programPath = ({ opt, lang }: Pick<Places, 'opt' | 'lang'>): string =>
  joined(lang && `${lang}/bin`, '/usr/local/bin', '/usr/bin/', '/bin', `${opt}/bin`)

/** Where shared libraries are looked for. The order of both is Lambda's. */
export const libraryPath = ({ code, opt, lang, runtime }: Places): string =>
  joined(lang && `${lang}/lib`, '/lib64', '/usr/lib64', runtime, runtime && `${runtime}/lib`, code, `${code}/lib`, `${opt}/lib`)

/** The variables that say where code and layers lie; what the function sets itself comes before them. */
export function pathVariables(runtime: string, places: Places): Record<string, string> {
  const node = /^nodejs(\d+)\.x$/.exec(runtime)?.[1]
  return {
    PATH: programPath(places),
    LD_LIBRARY_PATH: libraryPath(places),
    ...(node === undefined
      ? {}
      : {
          NODE_PATH: joined(
            `${places.opt}/nodejs/node${node}/node_modules`,
            `${places.opt}/nodejs/node_modules`,
            places.runtime && `${places.runtime}/node_modules`,
            places.runtime,
            places.code,
          ),
        }),
    LAMBDA_TASK_ROOT: places.code,
    ...(places.runtime === null ? {} : { LAMBDA_RUNTIME_DIR: places.runtime }),
  }
}
