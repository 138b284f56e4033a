import { Predicate } from "effect"

/**
 * Compares the output shown on a page with the output of a command. Values that differ between runs are compared by
 * their form: times, days, UUIDs, tokens, ids of tool calls, and durations and token counts as numbers. All other text
 * must be equal.
 */

const forms: ReadonlyArray<readonly [name: string, pattern: RegExp]> = [
  ["time", /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)(?!\w)/g],
  ["day", /\b\d{4}-\d\d-\d\d\b/g],
  ["uuid", /\b[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}\b/g],
  ["token", /\beyJ[\w-]+\.[\w-]+\.[\w-]+/g]
]

const mask = (text: string) => forms.reduce((masked, [name, pattern]) => masked.replace(pattern, `<${name}>`), text)

const varies = (member: string) => /_(?:ms|tokens)$/.test(member)

const isCallId = (member: string, value: unknown) =>
  ["id", "tool_call_id", "toolCallId"].includes(member) && Predicate.isString(value) && /^[A-Za-z0-9]{9}$/.test(value)

/** The differences, one sentence each. */
export const differences = (shown: unknown, actual: unknown, path = "$"): ReadonlyArray<string> => {
  if (Array.isArray(shown) && Array.isArray(actual)) {
    return shown.length === actual.length
      ? shown.flatMap((value, index) => differences(value, actual[index], `${path}[${index}]`))
      : [`${path} has ${actual.length} elements, not ${shown.length}`]
  }
  if (Predicate.isRecord(shown) && Predicate.isRecord(actual)) {
    return Array.from(new Set([...Object.keys(shown), ...Object.keys(actual)])).flatMap((member) => {
      const at = `${path}.${member}`
      if (!(member in actual)) return [`${at} is shown, but was not answered`]
      if (!(member in shown)) return [`${at} was answered, but is not shown`]
      if (varies(member) && Predicate.isNumber(shown[member]) && Predicate.isNumber(actual[member])) return []
      if (isCallId(member, shown[member]) && isCallId(member, actual[member])) return []
      return differences(shown[member], actual[member], at)
    })
  }
  const same = Predicate.isString(shown) && Predicate.isString(actual) ? mask(shown) === mask(actual) : shown === actual
  return same ? [] : [`${path} is ${JSON.stringify(actual)}, not ${JSON.stringify(shown)}`]
}

const parsed = (line: string): readonly [prefix: string, json: unknown] | undefined => {
  const match = /^(data: )?([[{].*[\]}])$/.exec(line)
  if (match?.[2] === undefined) return undefined
  try {
    return [match[1] ?? "", JSON.parse(match[2])]
  } catch {
    return undefined
  }
}

const sameLine = (shown: string, actual: string) => {
  const [left, right] = [parsed(shown), parsed(actual)]
  return left === undefined || right === undefined
    ? mask(shown.trimEnd()) === mask(actual.trimEnd())
    : left[0] === right[0] && differences(left[1], right[1]).length === 0
}

/**
 * `differences` for lines of text. JSON in a line, with or without `data: ` before it, is compared as JSON. A line `…`
 * means any number of lines.
 */
export const lineDifferences = (shown: string, actual: string): ReadonlyArray<string> => {
  const expected = shown.trimEnd().split("\n")
  const printed = actual.trimEnd().split("\n")
  let at = 0
  for (let i = 0; i < expected.length; i++) {
    const line = expected[i] ?? ""
    if (line === "…") {
      const next = expected[i + 1]
      if (next === undefined) return []
      while (at < printed.length && !sameLine(next, printed[at] ?? "")) at++
    } else if (at < printed.length && sameLine(line, printed[at] ?? "")) {
      at++
    } else {
      return [`line ${at + 1} is ${JSON.stringify(printed[at])}, not ${JSON.stringify(line)}`]
    }
  }
  return at < printed.length ? [`line ${at + 1}, ${JSON.stringify(printed[at])}, is not shown`] : []
}
