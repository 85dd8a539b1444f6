import type { Database } from '../../backends/database/database.ts'
import type { ProjectRef } from '../../core/project.ts'
import type { HttpSpec } from '../../core/web-triggers.ts'
import { Remembered } from '../../functions/index.ts'
import { selectRoutes } from './store.ts'
import { type RouteMatch, RouteTable } from './table.ts'

export interface HttpRoutesDeps {
  readonly control: Database
  /** Whether what is remembered may be used without asking the database again. */
  readonly believable: () => boolean
}

/** Which function answers which path of a project, in each process that serves calls. */
export class HttpRoutes {
  readonly #control: Database
  readonly #known: Remembered<RouteTable>

  constructor({ control, believable }: HttpRoutesDeps) {
    this.#control = control
    this.#known = new Remembered(believable)
  }

  /** @param rawPath  encoded as it came, without its leading slash. @throws MayflyError uri_invalid */
  async match(project: ProjectRef, method: string, rawPath: string): Promise<RouteMatch> {
    const table = await this.#known.get(project, async () => {
      const rows = await selectRoutes(this.#control.sql, project)
      return new RouteTable(rows.map(({ functionName, definition }) => ({ functionName, http: (definition as { readonly http: HttpSpec }).http })))
    })
    return table.match(method, rawPath)
  }

  /** Something of a project was changed. */
  forget(project: ProjectRef): void {
    this.#known.forget(project)
  }
}
