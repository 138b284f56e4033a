import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Metric, MetricLabel } from "effect"
import * as OpenAi from "../../src/models/OpenAi.ts"
import * as ProcessMetrics from "../../src/server/ProcessMetrics.ts"
import * as Database from "../support/Database.ts"
import { call, deny, ModelServer, say as says, stall } from "../support/ModelServer.ts"
import * as Prometheus from "../support/Prometheus.ts"
import * as Server from "../support/Server.ts"
import { newUser, say, send } from "../support/Server.ts"

const served = Layer.unwrapEffect(
  Effect.map(ModelServer, ({ url }) =>
    Server.layer({
      model: Layer.provide(OpenAi.layer({ apiUrl: url, model: "gpt" }), NodeHttpClient.dispatcherLayer)
    })
  )
).pipe(Layer.provideMerge(ModelServer.layer()), Layer.provideMerge(ProcessMetrics.layer("1.2.3")))

const read = Effect.map(send("GET", "/metrics"), ({ text }) => Prometheus.read(text))

/** The values of a metric by its labels, except `le`. */
const valuesOf = (families: ReadonlyArray<Prometheus.Family>, name: string) =>
  new Map(
    families
      .flatMap(({ samples }) => samples)
      .filter((sample) => sample.name === name)
      .map(({ labels, value }) => [Object.values(labels).join(" "), value])
  )

/** The difference of a metric. Other test files in this process use the same metrics. */
const addedTo = (before: ReadonlyArray<Prometheus.Family>, after: ReadonlyArray<Prometheus.Family>, name: string) => {
  const counted = valuesOf(before, name)
  return new Map(
    [...valuesOf(after, name)]
      .map(([labels, value]) => [labels, value - (counted.get(labels) ?? 0)] as const)
      .filter(([, added]) => added > 0)
  )
}

layer(served)("GET /metrics", (it) => {
  it.effect("has the requests to the model, by provider and outcome", () =>
    Effect.gen(function* () {
      const model = yield* ModelServer
      const user = yield* newUser
      const before = yield* read
      yield* model.enqueue([call("list_tasks", {})], [says("Nothing", " to do.")], [deny(401)])
      assert.strictEqual((yield* say(user, "What is left?")).status, 200)
      assert.strictEqual((yield* say(user, "Again?")).json["code"], "agent_misconfigured")

      yield* model.enqueue([says("Well"), stall])
      const events = yield* Server.stream(user, "And now?")
      const { data } = yield* events.event
      assert.deepInclude((yield* events.event).data, { content: "Well" })
      yield* send("POST", `/api/${user}/turns/${data["turn_id"]}/cancel`, { user })
      yield* events.rest

      const families = yield* read
      assert.deepStrictEqual(
        addedTo(before, families, "taskchat_model_request_duration_seconds_count"),
        new Map([
          ["openai completed", 2],
          ["openai refused", 1],
          ["openai abandoned", 1]
        ])
      )
      assert.deepStrictEqual(
        addedTo(before, families, "taskchat_model_first_token_seconds_count"),
        new Map([
          ["openai completed", 2],
          ["openai abandoned", 1]
        ])
      )
    }).pipe(Effect.scoped)
  )

  it.effect("has the duration of requests, by route", () =>
    Effect.gen(function* () {
      yield* send("GET", "/health")
      const counts = valuesOf(yield* read, "taskchat_http_request_duration_seconds_count")
      assert.isAtLeast(counts.get("/health") ?? 0, 1)
    })
  )

  it.effect("has the version and the load of the event loop", () =>
    Effect.gen(function* () {
      const families = yield* read
      assert.deepStrictEqual(
        valuesOf(families, "taskchat_build_info"),
        new Map([[`1.2.3 ${process.versions.node}`, 1]])
      )
      const [[, before = 0] = []] = valuesOf(families, "taskchat_event_loop_active_seconds_total")
      const [[, after = 0] = []] = valuesOf(yield* read, "taskchat_event_loop_active_seconds_total")
      assert.isTrue(before > 0 && after > before)
    })
  )

  it.effect("follows the format for any metric name and label", () =>
    Effect.gen(function* () {
      const odd = Metric.counter("app.own-number", { incremental: true })
      yield* Metric.increment(Metric.taggedWithLabels(odd, [MetricLabel.make("some.label", 'a "\\\n value')]))
      const { text } = yield* send("GET", "/metrics")
      const own = Prometheus.read(text).find(({ name }) => name === "app_own_number_total")
      assert.deepStrictEqual(own?.samples[0]?.labels, { some_label: 'a \\"\\\\\\n value' })
      if (Prometheus.hasPromtool) {
        assert.deepStrictEqual(Prometheus.promtool(["check", "metrics"], text), { status: 0, output: "" })
      }
    })
  )
})

describe.runIf(Database.isRealPostgres)("the pool", () => {
  it.effect("is reported while it is open", () =>
    Effect.gen(function* () {
      const user = yield* newUser
      yield* say(user, "Hi")
      const values = Effect.map(read, (families) =>
        ["connections", "connections_limit", "connections_busy", "waiting"].map((name) =>
          valuesOf(families, `taskchat_database_${name}`).get("")
        )
      )
      // The sweeps of the node also use connections.
      const isIdle = ([, , busy, waiting]: ReadonlyArray<number | undefined>) => busy === 0 && waiting === 0
      const [open = 0, limit = 0] = yield* Effect.repeat(values, { until: isIdle })
      assert.isTrue(open >= 1 && open <= limit, `${open} of ${limit}`)
    }).pipe(Effect.provide(Server.layer()))
  )
})

describe("Prometheus.read", () => {
  const rules = [
    "a_total 1\n",
    "# HELP a A\n# TYPE a counter\na 1\n",
    "# HELP a_total A\n# TYPE a_total gauge\na_total 1\n",
    "# HELP a A\n# TYPE a gauge\nb 1\n",
    "# HELP a A\n# TYPE a gauge\na 1\na 2\n",
    '# HELP a A\n# TYPE a gauge\na{b="""} 1\n',
    '# HELP a A\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n',
    '# HELP a A\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n'
  ]
  it.each(rules)("minds %j", (text) => {
    assert.throws(() => Prometheus.read(text))
  })
})
