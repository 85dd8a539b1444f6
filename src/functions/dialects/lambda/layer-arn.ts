import { ACCOUNT_ID } from './errors.ts'

/** A version of a layer as an ARN names it. */
export interface LayerVersionName {
  readonly region: string
  readonly account: string
  readonly name: string
  readonly number: number
}

const LAYER_VERSION = /^arn:aws[a-zA-Z-]*:lambda:([a-z0-9-]{1,40}):(\d{12}):layer:([a-zA-Z0-9_-]{1,140}):(\d{1,9})$/

export const layerArn = (region: string, name: string) => `arn:aws:lambda:${region}:${ACCOUNT_ID}:layer:${name}`
export const layerVersionArn = (region: string, name: string, number: number) => `${layerArn(region, name)}:${number}`

/** Null when it is none. */
export function parseLayerVersionArn(text: string): LayerVersionName | null {
  const [, region, account, name, number] = LAYER_VERSION.exec(text) ?? []
  if (region === undefined || account === undefined || name === undefined || number === undefined) return null
  return { region, account, name, number: Number(number) }
}
