import { Effect, Metric, type MetricPair, MetricState } from "effect"

/**
 * Everything that was counted, in Prometheus' text format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats).
 */
export const text: Effect.Effect<string> = Effect.map(Metric.snapshot, (pairs) => {
  const families = new Map<string, Array<string>>()
  for (const pair of pairs) {
    const family = write(pair)
    if (family === undefined) continue
    const { name, description } = pair.metricKey
    const lines = families.get(name) ?? [
      ...(description._tag === "Some" ? [`# HELP ${name} ${escape(description.value)}`] : []),
      `# TYPE ${name} ${family.type}`
    ]
    families.set(name, [...lines, ...family.lines])
  }
  return Array.from(families.values(), (lines) => `${lines.join("\n")}\n`).join("")
})

const write = ({ metricKey, metricState }: MetricPair.MetricPair.Untyped) => {
  const tags = metricKey.tags.map(({ key, value }) => `${key}="${escape(value).replaceAll('"', '\\"')}"`)
  const line = (suffix: string, value: number | bigint, ...more: ReadonlyArray<string>) => {
    const labels = [...tags, ...more].join(",")
    return `${metricKey.name}${suffix}${labels === "" ? "" : `{${labels}}`} ${value}`
  }
  if (MetricState.isCounterState(metricState)) return { type: "counter", lines: [line("", metricState.count)] }
  if (MetricState.isGaugeState(metricState)) return { type: "gauge", lines: [line("", metricState.value)] }
  if (!MetricState.isHistogramState(metricState)) return undefined
  return {
    type: "histogram",
    lines: [
      // The last one, without a bound, holds all that was counted.
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
