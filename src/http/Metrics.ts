import { Effect, Metric, MetricKeyType, type MetricPair, MetricState, Option } from "effect"
import * as Sampled from "../runtime/Sampled.ts"

/** All metrics in Prometheus' text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats). */
export const text: Effect.Effect<string> = Effect.map(Effect.zipRight(Sampled.takeAll, Metric.snapshot), (pairs) => {
  const families = new Map<string, Array<string>>()
  for (const pair of pairs) {
    const family = write(pair)
    if (family === undefined) continue
    const { name, type } = family
    const help = Option.getOrElse(pair.metricKey.description, () => name.replaceAll("_", " "))
    const lines = families.get(name) ?? [`# HELP ${name} ${escape(help)}`, `# TYPE ${name} ${type}`]
    families.set(name, [...lines, ...family.lines])
  }
  return Array.from(families.values(), (lines) => `${lines.join("\n")}\n`).join("")
})

const write = ({ metricKey, metricState }: MetricPair.MetricPair.Untyped) => {
  const { keyType } = metricKey
  // A metric that can decrease is a gauge; a counter's name ends in `_total`.
  const isCounter = MetricKeyType.isCounterKey(keyType) && keyType.incremental
  const given = metricKey.name.replaceAll(/[^\w:]/g, "_")
  const name = isCounter && !given.endsWith("_total") ? `${given}_total` : given
  const tags = metricKey.tags.map(
    ({ key, value }) => `${key.replaceAll(/\W/g, "_")}="${escape(value).replaceAll('"', '\\"')}"`
  )
  const line = (suffix: string, value: number | bigint, ...more: ReadonlyArray<string>) => {
    const labels = [...tags, ...more].join(",")
    return `${name}${suffix}${labels === "" ? "" : `{${labels}}`} ${value}`
  }
  if (MetricState.isCounterState(metricState)) {
    return { name, type: isCounter ? "counter" : "gauge", lines: [line("", metricState.count)] }
  }
  if (MetricState.isGaugeState(metricState)) return { name, type: "gauge", lines: [line("", metricState.value)] }
  if (!MetricState.isHistogramState(metricState)) return undefined
  return {
    name,
    type: "histogram",
    lines: [
      // The last bucket, without a bound, counts everything.
      ...metricState.buckets
        .filter(([boundary]) => Number.isFinite(boundary))
        .map(([boundary, count]) => line("_bucket", count, `le="${boundary}"`)),
      line("_bucket", metricState.count, 'le="+Inf"'),
      line("_sum", metricState.sum),
      line("_count", metricState.count)
    ]
  }
}

const escape = (text: string) => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")
