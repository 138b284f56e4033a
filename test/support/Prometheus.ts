import { spawnSync } from "node:child_process"
import { Array as Arr } from "effect"

interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Family {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly samples: ReadonlyArray<Sample>
}

const name = /^[a-zA-Z_:][\w:]*$/
const label = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"/y

const labelsOf = (text: string): Record<string, string> => {
  const labels: Record<string, string> = {}
  let at = 0
  while (at < text.length) {
    label.lastIndex = at
    const [whole = "", key = "", value = ""] = label.exec(text) ?? []
    if (whole === "" || key in labels || key.startsWith("__")) throw new Error(`labels: ${text}`)
    labels[key] = value
    at += whole.length
    if (at < text.length && text[at++] !== ",") throw new Error(`labels: ${text}`)
  }
  return labels
}

const numberOf = (text: string) => {
  if (!/^(?:[+-]?(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|Inf)|NaN)$/i.test(text)) throw new Error(`number: ${text}`)
  return Number(text.replace("Inf", "Infinity"))
}

const suffixes: Readonly<Record<string, RegExp>> = {
  counter: /^$/,
  gauge: /^$/,
  histogram: /^_(?:bucket|sum|count)$/
}

/** Reads Prometheus' text format 0.0.4. Throws if the text violates the format. */
export const read = (text: string): ReadonlyArray<Family> => {
  if (!text.endsWith("\n")) throw new Error("the last line has no end")
  const families: Array<Family & { samples: Array<Sample> }> = []
  let help: readonly [string, string] | undefined
  for (const line of text.trimEnd().split("\n")) {
    const [, kind, about = "", words = ""] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? []
    if (kind === "HELP") {
      if (help !== undefined || families.some((family) => family.name === about)) throw new Error(line)
      help = [about, words]
    } else if (kind === "TYPE") {
      if (!name.test(about) || help?.[0] !== about || !(words in suffixes)) throw new Error(line)
      families.push({ name: about, type: words, help: help[1], samples: [] })
      help = undefined
    } else {
      const [, of = "", labels = "", value = ""] = /^([\w:]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
      const family = families.at(-1)
      const isOne = family !== undefined && of.startsWith(family.name)
      if (!isOne || !suffixes[family.type]?.test(of.slice(family.name.length))) throw new Error(line)
      family.samples.push({ name: of, labels: labelsOf(labels), value: numberOf(value) })
    }
  }
  for (const family of families) check(family)
  return families
}

const keyOf = ({ labels, name }: Sample) => JSON.stringify([name, Object.entries(labels).sort()])

/** Rules that `promtool check metrics` also checks. */
const check = ({ name, samples, type }: Family) => {
  if (samples.length === 0) throw new Error(`${name} has no samples`)
  if (new Set(samples.map(keyOf)).size < samples.length) throw new Error(`${name} has a sample twice`)
  if ((type === "counter") !== name.endsWith("_total")) throw new Error(`${name} is a ${type}`)
  if (/_(?:milli|micro|nano)seconds|_minutes|_(?:count|sum|bucket|info_.*|counter|gauge|histogram)$/.test(name)) {
    throw new Error(`${name} has a name that Prometheus minds`)
  }
  if (type !== "histogram") return
  const series = Arr.groupBy(samples, ({ labels: { le: _, ...labels } }) => JSON.stringify(labels))
  for (const [labels, of] of Object.entries(series)) {
    const buckets = of.filter(({ labels }) => "le" in labels)
    const count = of.find((sample) => sample.name === `${name}_count`)?.value
    const isRising = buckets.every(
      ({ labels, value }, i) =>
        i === 0 ||
        (value >= (buckets[i - 1]?.value ?? 0) &&
          numberOf(labels["le"] ?? "") > numberOf(buckets[i - 1]?.labels["le"] ?? ""))
    )
    const last = buckets.at(-1)
    if (!isRising || last?.labels["le"] !== "+Inf" || last.value !== count) throw new Error(`${name}${labels}`)
  }
}

export const hasPromtool = spawnSync("promtool", ["--version"]).status === 0

/** The findings of promtool. */
export const promtool = (args: ReadonlyArray<string>, input = "") => {
  const { status, stderr, stdout } = spawnSync("promtool", args, { input, encoding: "utf8" })
  return { status, output: `${stdout}${stderr}` }
}
