// Routes of Azure's HTTP functions.
import { triggerOf } from './azure-bindings.mjs'

/** Constraints of route templates: what a segment must look like, and whether its value is one. */
const CONSTRAINTS = {
  int: [/^-?\d+$/, (value) => Math.abs(Number(value)) <= 0x7fffffff],
  long: [/^-?\d+$/],
  bool: [/^(true|false)$/i],
  guid: [/^\{?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?$/i],
  alpha: [/^[a-z]*$/i],
  decimal: [/^-?\d+(\.\d+)?$/],
  double: [/^-?\d+(\.\d+)?(e[+-]?\d+)?$/i],
  float: [/^-?\d+(\.\d+)?(e[+-]?\d+)?$/i],
  datetime: [/./, (value) => !Number.isNaN(Date.parse(value))],
}
const NUMBERED = {
  length: (value, [least, most = least]) => value.length >= least && value.length <= most,
  minlength: (value, [least]) => value.length >= least,
  maxlength: (value, [most]) => value.length <= most,
  min: (value, [least]) => Number(value) >= least,
  max: (value, [most]) => Number(value) <= most,
  range: (value, [least, most]) => Number(value) >= least && Number(value) <= most,
}

/** @throws Error for a template that this does not know */
function segmentOf(text, route) {
  const whole = /^\{(\*{0,2})([A-Za-z_][\w-]*)((?::[^?]*)?)(\??)\}$/.exec(text)
  if (!whole) {
    if (/[{}]/.test(text)) throw new Error(`the route "${route}" has a segment "${text}" that cannot be served`)
    return { rank: 0, literal: text.toLowerCase() }
  }
  const [, stars, name, rules, optional] = whole
  const checks = rules
    .split(/:(?![^(]*\))/)
    .filter(Boolean)
    .map((rule) => checkOf(rule, route))
  return {
    rank: stars ? 3 : checks.length > 0 ? 1 : 2,
    name,
    rest: stars !== '',
    optional: optional !== '',
    fits: (value) => checks.every((check) => check(value)),
  }
}

function checkOf(rule, route) {
  const [, name, argument] = /^([a-z]+)(?:\((.*)\))?$/i.exec(rule) ?? []
  if (name === 'regex') {
    const pattern = new RegExp(argument, 'i')
    return (value) => pattern.test(value)
  }
  if (Object.hasOwn(NUMBERED, name ?? '')) return (value) => NUMBERED[name](value, argument.split(',').map(Number))
  if (!Object.hasOwn(CONSTRAINTS, name ?? '')) throw new Error(`the route "${route}" has a constraint "${rule}" that is not known`)
  const [pattern, holds = () => true] = CONSTRAINTS[name]
  return (value) => pattern.test(value) && holds(value)
}

/** @returns for a method and path the function with its parameters, or null */
export function routerOf(functions, host) {
  const prefix = (host.extensions?.http?.routePrefix ?? 'api').replaceAll(/^\/|\/$/g, '')
  const routes = functions.flatMap((one) => {
    const trigger = triggerOf(one.metadata)
    if (trigger.type.toLowerCase() !== 'httptrigger') return []
    const route = (trigger.route ?? one.metadata.name).replaceAll(/^\/|\/$/g, '')
    const segments = [...(prefix === '' ? [] : prefix.split('/')), ...(route === '' ? [] : route.split('/'))].map((text) => segmentOf(text, route))
    const methods = (trigger.methods ?? ['GET', 'POST']).map((method) => method.toUpperCase())
    return [{ one, segments, methods, level: (trigger.authLevel ?? 'anonymous').toLowerCase() }]
  })
  // A literal counts before a parameter, from the left.
  const ranks = ({ segments }) => segments.map(({ rank }) => rank).join('')
  routes.sort((a, b) => (ranks(a) < ranks(b) ? -1 : 1))
  return (method, pathname) => {
    let parts
    try {
      parts = pathname.split('/').filter(Boolean).map(decodeURIComponent)
    } catch {
      return null
    }
    for (const { one, segments, methods, level } of routes) {
      if (!methods.includes(method.toUpperCase())) continue
      const params = matched(segments, parts)
      if (params) return { one, params, level }
    }
    return null
  }
}

function matched(segments, parts) {
  const params = {}
  let at = 0
  for (const segment of segments) {
    const part = parts[at]
    if (segment.literal !== undefined) {
      if (part?.toLowerCase() !== segment.literal) return null
      at++
    } else if (segment.rest) {
      if (at < parts.length) params[segment.name] = parts.slice(at).join('/')
      return params
    } else if (part === undefined) {
      if (!segment.optional) return null
    } else {
      if (!segment.fits(part)) return null
      params[segment.name] = part
      at++
    }
  }
  return at === parts.length ? params : null
}
