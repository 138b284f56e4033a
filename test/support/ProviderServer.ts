import { createServer } from "node:http"
import { LanguageModel } from "@effect/ai"
import { NodeHttpClient } from "@effect/platform-node"
import { Context, Effect, HashMap, Layer, Logger, Redacted, Stream, Tracer } from "effect"
import * as Anthropic from "../../src/models/Anthropic.ts"
import * as ChatCompletions from "../../src/models/ChatCompletions.ts"
import * as OpenAi from "../../src/models/OpenAi.ts"
import { type Case, type Provider, type Reply, reply, type Sent } from "./ModelCases.ts"
import * as Server from "./Server.ts"

/** A line of the log. */
interface Line {
  readonly level: string
  readonly message: string
  readonly annotations: Readonly<Record<string, unknown>>
}

interface SpanEvent {
  readonly name: string
  readonly attributes: Readonly<Record<string, unknown>>
}

/** The servers of all providers. They answer as their cases define and record the requests. */
export class ProviderServer extends Context.Tag("taskchat/testing/ProviderServer")<
  ProviderServer,
  {
    /** Returns a key. A message that begins with the key is answered by the case, with a separate model. */
    readonly play: (provider: Provider, one: Case) => Effect.Effect<string>
    readonly requests: (key: string) => Effect.Effect<ReadonlyArray<Sent>>
    /** The log lines of this turn. */
    readonly log: (turn: unknown) => Effect.Effect<ReadonlyArray<Line>>
    /** All events and attributes of spans so far. */
    readonly spans: Effect.Effect<ReadonlyArray<SpanEvent>>
  }
>() {}

interface Playing {
  readonly provider: Provider
  readonly one: Case
  readonly requests: Array<Sent>
  /** The number of requests in each turn. */
  readonly counts: Map<number, number>
}

const modelOf = { "chat-completions": ChatCompletions, responses: OpenAi, messages: Anthropic }

const make = Effect.gen(function* () {
  const playing = new Map<string, Playing>()

  const answer = (path: string, headers: Sent["headers"], text: string): Reply => {
    const [, key = ""] = path.split("/")
    const game = playing.get(key)
    const said = [...text.matchAll(new RegExp(`${key} (\\d+)"`, "g"))].at(-1)
    if (game === undefined || said === null || said === undefined) return reply(418, {})
    const turn = Number(said[1])
    const sent = { headers, body: JSON.parse(text), text }
    const n = game.counts.get(turn) ?? 0
    game.counts.set(turn, n + 1)
    game.requests.push(sent)
    const replies = game.one.turns[turn]?.replies ?? []
    return (typeof replies === "function" ? replies(sent, n) : replies[n]) ?? reply(418, {})
  }

  const server = createServer((incoming, outgoing) => {
    const pieces: Array<Buffer> = []
    incoming.on("data", (piece: Buffer) => pieces.push(piece))
    incoming.on("end", () => {
      const sent = Buffer.concat(pieces).toString()
      const { body, headers, isReset, status } = answer(incoming.url ?? "", incoming.headers, sent)
      const bytes = Buffer.from(body)
      outgoing.writeHead(status, headers)
      const cuts = [0, 1, 2, 3, 4].map((quarter) => Math.floor((bytes.length * quarter) / 4))
      const next = (at: number) => {
        if (at < 4) outgoing.write(bytes.subarray(cuts[at], cuts[at + 1]), () => setImmediate(next, at + 1))
        else if (isReset) outgoing.socket?.resetAndDestroy()
        else outgoing.end()
      }
      outgoing.flushHeaders()
      next(0)
    })
  })
  const port = yield* Effect.acquireRelease(
    Effect.async<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" ? (address?.port ?? 0) : 0))
      })
    }),
    () =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )

  const scope = yield* Effect.scope
  const dispatcher = yield* NodeHttpClient.Dispatcher
  const models = new Map<string, LanguageModel.Service>()
  const play = (provider: Provider, one: Case) =>
    Effect.gen(function* () {
      const key = `case-${playing.size}`
      playing.set(key, { provider, one, requests: [], counts: new Map() })
      const apiUrl = `http://127.0.0.1:${port}/${key}/v1`
      const { echoes } = provider
      const options = { apiUrl, apiKey: Redacted.make("sk-test"), model: "m", echoes }
      const layer = Layer.provide(
        modelOf[provider.wire].layer(options),
        Layer.succeed(NodeHttpClient.Dispatcher, dispatcher)
      )
      const built = yield* Layer.buildWithScope(layer, scope)
      models.set(key, Context.get(built, LanguageModel.LanguageModel))
      return key
    })

  const keyIn = (text: string) => /case-\d+/.exec(text)?.[0] ?? ""

  /** Each case has its own model, because a model remembers the members that its provider refused. */
  const model = {
    streamText: (options: { readonly prompt: unknown }) => {
      const keys = JSON.stringify(options.prompt).match(/case-\d+ \d+"/g) ?? []
      const found = models.get(keyIn(keys.at(-1) ?? ""))
      // Safe: the options are passed on unchanged.
      return found === undefined ? Stream.dieMessage("no such case") : found.streamText(options as never)
    }
  }

  const log: Array<Line> = []
  const logger = Logger.make(({ annotations, logLevel, message }) => {
    const facts = Object.fromEntries(HashMap.toEntries(annotations))
    log.push({ level: logLevel.label, message: String(message), annotations: facts })
  })

  const spans: Array<SpanEvent> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      return {
        _tag: "Span",
        spanId: name,
        traceId: "trace",
        sampled: true,
        status: { _tag: "Started", startTime },
        attributes,
        ...{ name, parent, context, links, kind },
        end: () => {},
        attribute: (key, value) => {
          attributes.set(key, value)
          spans.push({ name: key, attributes: { [key]: value } })
        },
        event: (event, _, facts = {}) => void spans.push({ name: event, attributes: facts }),
        addLinks: () => {}
      }
    },
    context: (f) => f()
  })

  return Layer.mergeAll(
    Layer.succeed(ProviderServer, {
      play,
      requests: (key) => Effect.sync(() => playing.get(key)?.requests.slice() ?? []),
      log: (turn) => Effect.sync(() => log.filter(({ annotations }) => annotations["turn_id"] === turn)),
      spans: Effect.sync(() => spans)
    }),
    // Safe: the agent uses nothing else of a model.
    Layer.succeed(LanguageModel.LanguageModel, model as unknown as LanguageModel.Service),
    Logger.replace(Logger.defaultLogger, logger),
    Layer.setTracer(tracer)
  )
})

const server = Layer.unwrapScoped(make).pipe(Layer.provide(NodeHttpClient.dispatcherLayer))

/** The whole service with the models of all providers. */
export const services = Layer.unwrapScoped(
  Effect.map(Layer.build(server), (built) => {
    const given = Layer.succeedContext(built)
    return Layer.provideMerge(Server.layer({ model: given, isTraced: true }), given)
  })
)
