import { performance } from "node:perf_hooks"
import { Effect, Layer, Metric, MetricBoundaries, MetricLabel } from "effect"
import * as Sampled from "../runtime/Sampled.ts"

const build = Metric.gauge("taskchat_build_info", { description: "1, with the versions that run" })
const delay = Metric.histogram(
  "taskchat_event_loop_delay_seconds",
  MetricBoundaries.fromIterable([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]),
  "How late a timer of the event loop was, four times a second"
)
const active = Metric.counter("taskchat_event_loop_active_seconds_total", {
  description: "Seconds in which the event loop did not wait",
  incremental: true
})

const everyMillis = 250

/** Metrics of the process. It uses real timers, because Effect's clock does not measure a blocked event loop. */
export const layer = (version: string): Layer.Layer<never> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      yield* Metric.set(Metric.taggedWithLabels(build, labels({ version, node: process.versions.node })), 1)
      let counted = 0
      yield* Sampled.register(() => {
        const seconds = performance.eventLoopUtilization().active / 1000
        active.unsafeUpdate(seconds - counted, [])
        counted = seconds
      })
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          let due = performance.now() + everyMillis
          return setInterval(() => {
            const now = performance.now()
            delay.unsafeUpdate(Math.max(0, now - due) / 1000, [])
            due = now + everyMillis
          }, everyMillis).unref()
        }),
        (timer) => Effect.sync(() => clearInterval(timer))
      )
    })
  )

const labels = (values: Readonly<Record<string, string>>) =>
  Object.entries(values).map(([name, value]) => MetricLabel.make(name, value))
