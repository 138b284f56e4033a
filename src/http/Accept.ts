/** One media range of an `Accept` header. */
interface Range {
  readonly type: string
  /** By lower-case names, `q` left out. */
  readonly parameters: ReadonlyMap<string, string>
  /** Its preference, from 0 (not acceptable) to 1. */
  readonly q: number
}

/**
 * Whether a client prefers `type` with `profile` to `type` alone. It must name the profile: a wildcard means the usual
 * format.
 */
export const prefersProfile = (accept: string | undefined, type: string, profile: string): boolean => {
  if (accept === undefined) return false
  const ranges = rangesOf(accept)
  const named = ranges.find((range) => range.type === type && range.parameters.get("profile") === profile)
  if (named === undefined || named.q === 0) return false
  const plain = [type, `${type.slice(0, type.indexOf("/"))}/*`, "*/*"]
    .map((usual) => ranges.find((range) => range.type === usual && range.parameters.size === 0))
    .find((range) => range !== undefined)
  return named.q >= (plain?.q ?? 0)
}

/** Whether a client accepts `type`: the most specific matching range decides. Without the header it accepts anything. */
export const accepts = (accept: string | undefined, type: string): boolean => {
  if (accept === undefined || accept.trim() === "") return true
  const ranges = rangesOf(accept)
  const closest = [type, `${type.slice(0, type.indexOf("/"))}/*`, "*/*"]
    .map((one) => ranges.find((range) => range.type === one))
    .find((range) => range !== undefined)
  return closest !== undefined && closest.q > 0
}

/** Whether a client accepts `type` by name. */
export const names = (accept: string | undefined, type: string): boolean =>
  accept !== undefined && rangesOf(accept).some((range) => range.type === type && range.q > 0)

/** Malformed ranges are left out. */
const rangesOf = (accept: string): ReadonlyArray<Range> =>
  split(accept, ",").flatMap((element) => {
    const [type = "", ...rest] = split(element, ";").map((part) => part.trim())
    const parameters = new Map(rest.flatMap(parameterOf))
    const q = Number(parameters.get("q") ?? 1)
    parameters.delete("q")
    return type.includes("/") && q >= 0 && q <= 1 ? [{ type: type.toLowerCase(), parameters, q }] : []
  })

const parameterOf = (text: string): ReadonlyArray<readonly [string, string]> => {
  const at = text.indexOf("=")
  if (at < 0) return []
  const value = text.slice(at + 1).trim()
  const quoted = /^"(.*)"$/s.exec(value)?.[1]
  return [[text.slice(0, at).trim().toLowerCase(), quoted === undefined ? value : quoted.replace(/\\(.)/gs, "$1")]]
}

/** Splits at separators outside of quoted strings. */
const split = (text: string, separator: string): ReadonlyArray<string> => {
  const parts: Array<string> = []
  let from = 0
  let isQuoted = false
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '"') isQuoted = !isQuoted
    else if (text[i] === "\\" && isQuoted) i++
    else if (text[i] === separator && !isQuoted) {
      parts.push(text.slice(from, i))
      from = i + 1
    }
  }
  return [...parts, text.slice(from)]
}
