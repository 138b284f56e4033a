import { Metric } from "effect"

/** A metric's members by the value of one label, each made once: to tag one anew takes as long as ten updates. */
export const byLabel = <Type, In, Out>(label: string, metric: Metric.Metric<Type, In, Out>) => {
  const known = new Map<string, Metric.Metric<Type, In, Out>>()
  return (value: string) => {
    const found = known.get(value)
    if (found !== undefined) return found
    const made = Metric.tagged(metric, label, value)
    known.set(value, made)
    return made
  }
}
