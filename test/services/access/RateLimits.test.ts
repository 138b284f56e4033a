import { createServer, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Deferred, Effect, Layer, Logger, Redacted, Ref, TestClock } from "effect"
import { UserId } from "../../../src/domain/Id.ts"
import { type Limits, type Policy, RateLimits } from "../../../src/services/access/RateLimits.ts"
import { Erasing } from "../../../src/services/data/Erasing.ts"

const redisUrl = process.env["REDIS_URL"]

const limits: Limits = { chat: { limit: 5 }, api: { limit: 100 } }
const [ada, bob] = [UserId.make(1), UserId.make(2)]

const take = (policy: Policy, user: UserId, requests?: number) =>
  Effect.flatMap(RateLimits, (limits) => limits.take(policy, user, requests))

/** Windows in Redis use the system clock, so the tests wait in real time. */
const contract = (layer: (limits: Limits) => Layer.Layer<RateLimits>) => {
  it.live("of 500 concurrent requests exactly the limit is allowed", () =>
    Effect.gen(function* () {
      const results = yield* Effect.all(
        Arr.makeBy(500, () => take("api", ada)),
        { concurrency: "unbounded" }
      )
      const allowed = results.filter((result) => result.allowed)
      assert.strictEqual(allowed.length, 100)
      assert.sameMembers(
        allowed.map((result) => result.remaining),
        Arr.range(0, 99)
      )
    }).pipe(Effect.provide(layer(limits)))
  )

  it.live("users and policies are counted separately", () =>
    Effect.gen(function* () {
      yield* Effect.all(Arr.makeBy(6, () => take("chat", ada)))
      assert.isFalse((yield* take("chat", ada)).allowed)
      assert.isTrue((yield* take("chat", bob)).allowed)
      assert.strictEqual((yield* take("api", ada)).remaining, 99)
    }).pipe(Effect.provide(layer(limits)))
  )

  it.live("the result has the remaining requests and the reset time", () =>
    Effect.gen(function* () {
      const before = Math.floor(Date.now() / 1000)
      const first = yield* take("chat", ada)
      assert.deepInclude(first, { allowed: true, limit: 5, remaining: 4, windowSeconds: 60, retryAfter: undefined })
      assert.isTrue(first.resetSeconds > 50 && first.resetSeconds <= 60)
      assert.isTrue(first.resetAt >= before + 50 && first.resetAt <= Math.ceil(Date.now() / 1000) + 60)
      yield* Effect.all(Arr.makeBy(4, () => take("chat", ada)))
      const sixth = yield* take("chat", ada)
      assert.deepInclude(sixth, { allowed: false, limit: 5, remaining: 0 })
      assert.strictEqual(sixth.retryAfter, sixth.resetSeconds)
      assert.isTrue(sixth.resetSeconds >= 1 && sixth.resetSeconds <= first.resetSeconds)
    }).pipe(Effect.provide(layer(limits)))
  )

  it.live("reading the remaining requests does not count", () =>
    Effect.gen(function* () {
      assert.deepInclude(yield* take("chat", ada, 0), { allowed: true, remaining: 5 })
      yield* take("chat", ada)
      assert.deepInclude(yield* take("chat", ada, 0), { allowed: true, remaining: 4 })
      assert.deepInclude(yield* take("chat", ada), { allowed: true, remaining: 3 })
      yield* Effect.all(Arr.makeBy(4, () => take("chat", ada)))
      assert.deepInclude(yield* take("chat", ada, 0), { allowed: false, remaining: 0 })
    }).pipe(Effect.provide(layer(limits)))
  )

  it.live("the count restarts after the window, and refused requests do not extend it", () =>
    Effect.gen(function* () {
      const results = yield* Effect.all(Arr.makeBy(3, () => take("chat", ada)))
      assert.deepStrictEqual(
        results.map((result) => result.allowed),
        [true, false, false]
      )
      yield* Effect.sleep("1050 millis")
      assert.deepInclude(yield* take("chat", ada), { allowed: true, remaining: 0 })
    }).pipe(Effect.provide(layer({ ...limits, chat: { limit: 1, window: "1 second" } })))
  )

  it.live("the counts of an erased user are deleted", () => {
    let ended: ((user?: UserId) => Effect.Effect<void>) | undefined
    const erasing = Layer.succeed(Erasing, {
      refuse: () => Effect.void,
      refresh: Effect.void,
      listen: (listener) =>
        Effect.sync(() => {
          ended = listener.ended
        })
    })
    return Effect.gen(function* () {
      yield* Effect.all([take("chat", ada), take("chat", ada), take("chat", bob)])
      yield* ended?.(ada) ?? Effect.void
      assert.strictEqual((yield* take("chat", ada)).remaining, 4)
      assert.strictEqual((yield* take("chat", bob)).remaining, 3)
    }).pipe(Effect.provide(Layer.provide(layer(limits), erasing)))
  })

  it.live("is ready", () =>
    Effect.gen(function* () {
      assert.isTrue(yield* Effect.flatMap(RateLimits, (limits) => limits.ready))
    }).pipe(Effect.provide(layer(limits)))
  )
}

describe("RateLimits.layerMemory", () => {
  contract((limits) => RateLimits.layerMemory(limits))

  it.effect("windows use the Clock", () =>
    Effect.gen(function* () {
      yield* take("chat", ada, 5)
      yield* TestClock.adjust("30 seconds")
      assert.deepInclude(yield* take("chat", ada), { allowed: false, resetSeconds: 30, resetAt: 60 })
      assert.deepInclude(yield* take("chat", bob), { allowed: true, resetSeconds: 60, resetAt: 90 })
      yield* TestClock.adjust("30 seconds")
      assert.deepInclude(yield* take("chat", ada), { allowed: true, remaining: 4, resetAt: 120 })
      assert.deepInclude(yield* take("chat", bob), { allowed: true, remaining: 3, resetAt: 90 })
    }).pipe(Effect.provide(RateLimits.layerMemory(limits)))
  )

  it.effect("a clock that is set back does not extend a window", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(3_600_000)
      yield* take("chat", ada)
      yield* TestClock.setTime(0)
      yield* take("chat", bob, 6)
      yield* TestClock.adjust("61 seconds")
      assert.deepInclude(yield* take("chat", bob), { allowed: true, remaining: 4 })
    }).pipe(Effect.provide(RateLimits.layerMemory(limits)))
  )
})

const layerRedis = (limits: Limits, prefix: string, url = redisUrl ?? "") =>
  RateLimits.layerRedis(Redacted.make(url), limits, { prefix })

describe.runIf(redisUrl)("RateLimits.layerRedis", () => {
  contract((limits) => layerRedis(limits, `test-${crypto.randomUUID()}`))

  it.live("processes with the same prefix share their counts", () =>
    Effect.gen(function* () {
      const prefix = `test-${crypto.randomUUID()}`
      const nodes = yield* Effect.all(Arr.makeBy(3, () => Layer.build(Layer.fresh(layerRedis(limits, prefix)))))
      const results = yield* Effect.forEach(
        nodes.flatMap((node) => Arr.makeBy(100, () => node)),
        (node) => Effect.provide(take("api", ada), node),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(results.filter((result) => result.allowed).length, 100)
    }).pipe(Effect.scoped)
  )
})

/** A port where `answer` decides what happens to a connection. */
const listen = (answer: (socket: Socket) => void) =>
  Effect.gen(function* () {
    const listening = yield* Deferred.make<number>()
    const sockets = new Set<Socket>()
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const server = createServer((socket) => {
          sockets.add(socket.on("error", () => {}))
          answer(socket)
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          Deferred.unsafeDone(listening, Effect.succeed(typeof address === "object" && address ? address.port : 0))
        })
        return server
      }),
      (server) =>
        Effect.async<void>((resume) => {
          for (const socket of sockets) socket.destroy()
          server.close(() => resume(Effect.void))
        })
    )
    return `redis://127.0.0.1:${yield* Deferred.await(listening)}`
  })

/** The log messages by level. */
const logged = Effect.map(Ref.make<ReadonlyArray<string>>([]), (ref) => ({
  lines: Ref.get(ref),
  layer: Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ logLevel }) => {
      Effect.runSync(Ref.update(ref, (lines) => [...lines, logLevel.label]))
    })
  )
}))

describe("a Redis that is away", () => {
  const away = [
    ["drops every connection", (socket: Socket) => void socket.destroy()],
    ["never answers", () => {}]
  ] as const

  it.scopedLive.each(away)("and %s leaves each process to count for itself, and one warning", ([, answer]) =>
    Effect.gen(function* () {
      const log = yield* logged
      const url = yield* listen(answer)
      yield* Effect.gen(function* () {
        const results = yield* Effect.all(Arr.makeBy(7, () => take("chat", ada)))
        assert.deepStrictEqual(
          results.map((result) => result.allowed),
          [true, true, true, true, true, false, false]
        )
        assert.isFalse(yield* Effect.flatMap(RateLimits, (limits) => limits.ready))
      }).pipe(Effect.provide(Layer.provideMerge(layerRedis(limits, "test", url), log.layer)))
      assert.deepStrictEqual(yield* log.lines, ["WARN"])
    })
  )

  it.scopedLive("is asked by one request at a time if it accepts commands but does not answer", () =>
    Effect.gen(function* () {
      const log = yield* logged
      let asked = 0
      const info = "redis_version:7.0.0\r\nloading:0\r\n"
      const url = yield* listen((socket) =>
        socket.on("data", (bytes) => {
          for (const command of String(bytes)
            .toLowerCase()
            .split(/^(?=\*\d)/m)) {
            if (command.includes("eval")) asked++
            else socket.write(command.includes("\r\ninfo\r\n") ? `$${info.length}\r\n${info}\r\n` : "+OK\r\n")
          }
        })
      )
      yield* Effect.gen(function* () {
        yield* take("chat", ada)
        assert.strictEqual(asked, 1)
        yield* take("chat", ada)
        assert.strictEqual(asked, 1)
        yield* Effect.sleep("1 second")
        yield* Effect.all([take("chat", ada), take("chat", ada), take("chat", ada)], { concurrency: "unbounded" })
        assert.strictEqual(asked, 2)
        assert.isFalse((yield* take("chat", ada)).allowed)
      }).pipe(Effect.provide(Layer.provideMerge(layerRedis(limits, "test", url), log.layer)))
      assert.deepStrictEqual(yield* log.lines, ["WARN"])
    })
  )

  it.scopedLive.skipIf(!redisUrl)("counts again for all as soon as it is back", () =>
    Effect.gen(function* () {
      const log = yield* logged
      // A proxy in front of Redis that can cut connections.
      let open = true
      const { hostname, port } = new URL(redisUrl ?? "")
      const { connect } = yield* Effect.promise(() => import("node:net"))
      const pairs = new Set<Socket>()
      const between = yield* listen((socket) => {
        if (!open) return void socket.destroy()
        const upstream = connect(Number(port || 6379), hostname)
        upstream.on("error", () => socket.destroy())
        socket.on("close", () => upstream.destroy())
        pairs.add(socket)
        socket.pipe(upstream).pipe(socket)
      })
      // The same Redis database.
      const url = new URL(new URL(redisUrl ?? "").pathname, between).href
      const prefix = `test-${crypto.randomUUID()}`
      yield* Effect.gen(function* () {
        assert.strictEqual((yield* take("chat", ada)).remaining, 4)
        open = false
        for (const socket of pairs) socket.destroy()
        assert.strictEqual((yield* take("chat", ada)).remaining, 4)
        open = true
        // Another process counted in the meantime.
        yield* Effect.provide(take("chat", ada), Layer.fresh(layerRedis(limits, prefix)))
        while (!(yield* Effect.flatMap(RateLimits, (limits) => limits.ready))) yield* Effect.sleep("20 millis")
        yield* Effect.sleep("1 second")
        assert.strictEqual((yield* take("chat", ada)).remaining, 2)
      }).pipe(Effect.provide(Layer.provideMerge(layerRedis(limits, prefix, url), log.layer)))
      assert.deepStrictEqual(yield* log.lines, ["WARN", "INFO"])
    })
  )
})
