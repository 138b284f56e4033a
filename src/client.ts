import {
  type HttpApi,
  HttpApiClient,
  type HttpApiGroup,
  HttpClient,
  HttpClientError,
  HttpClientRequest,
  type HttpClientResponse
} from "@effect/platform"
import {
  Chunk,
  Context,
  Data,
  Duration,
  Effect,
  Layer,
  type ParseResult,
  Random,
  type Redacted,
  Schema,
  Stream,
  type Types
} from "effect"
import { Api } from "./api/Api.ts"
import { ChatRequest } from "./api/ChatApi.ts"
import { StreamEvent } from "./api/StreamEvent.ts"
import type { ConversationId, TurnId, UserId } from "./domain/Id.ts"
import { RateLimited, Unavailable } from "./domain/Request.ts"
import { EventReader, type ServerSentEvent } from "./models/EventReader.ts"

export { Api } from "./api/Api.ts"
export { ChatAnswer, ChatRequest } from "./api/ChatApi.ts"
export { ConversationList, ConversationPatch, MessageList } from "./api/ConversationsApi.ts"
export { StreamEvent } from "./api/StreamEvent.ts"
export { TaskHistory, TaskList } from "./api/TasksApi.ts"
export { Undone } from "./api/TurnsApi.ts"
export { ConversationId, MessageId, TaskId, TurnId, UserId } from "./domain/Id.ts"
export { NewTask, TaskPatch } from "./domain/NewTask.ts"

export interface ClientOptions {
  /** The URL of the service, with the prefix of its mount, if any. */
  readonly baseUrl: URL | string
  /** An effect runs before each request, so that it can renew the token. */
  readonly token: Redacted.Redacted | Effect.Effect<Redacted.Redacted>
  /** How often to reconnect a broken stream in a row without receiving an event. Default: 5. */
  readonly retries?: number
  /**
   * A stream counts as broken after this much silence. Default: 45 seconds. The service is never silent for 15 seconds.
   */
  readonly idleTimeout?: Duration.DurationInput
}

/** A message of a user. */
export interface Say {
  readonly user: UserId
  readonly message: string
  /** The conversation to continue. Without it, a new one begins. */
  readonly conversationId?: ConversationId | null
  /** IANA name. Default: UTC. */
  readonly timeZone?: string
  /** With a key, the message is sent again if the connection breaks before the first event. It still runs only once. */
  readonly idempotencyKey?: string
}

/** A turn to read, from its start or after an event. */
export interface Place {
  readonly user: UserId
  readonly turnId: TurnId
  /** The `id` of the last event that you have read. */
  readonly lastEventId?: string
}

/** An event with its id, after which `events` can continue. */
export type Received = StreamEvent & { readonly id: string }

/**
 * The connection broke before the last event and could not be restored. If `turnId` is set, the turn continues, and
 * `events` can read the rest.
 */
export class StreamCut extends Data.TaggedError("StreamCut")<{
  readonly turnId?: TurnId
  readonly lastEventId?: string
  /** The error of the last attempt. Absent if the stream just ended. */
  readonly cause?: unknown
}> {
  override get message() {
    return "The stream was cut before its last event"
  }
}

/** The methods that `HttpApiClient` derives, one for each endpoint: `client.tasks.list({ path, urlParams })`. */
export type Derived =
  typeof Api extends HttpApi.HttpApi<infer _Id, infer Groups extends HttpApiGroup.HttpApiGroup.Any, infer E, infer _R>
    ? Types.Simplify<HttpApiClient.Client<Groups, E, never>>
    : never

type Failure<Method extends (...args: never) => Effect.Effect<unknown, unknown>> = Effect.Effect.Error<
  ReturnType<Method>
>

/** The errors of `stream`: the service's problems as classes, and `StreamCut`. */
export type StreamError = Failure<Derived["chat"]["stream"]> | Failure<Derived["turns"]["events"]> | StreamCut

/** The errors of `events`. */
export type EventsError = Failure<Derived["turns"]["events"]> | StreamCut

export interface Streams {
  /**
   * Sends a message and reads the events of its turn. The last event is `Completed` or `Failed`. A broken stream
   * continues after the last event, without gaps or repeats. The turn does not depend on the stream: closing it early
   * does not stop the turn.
   */
  readonly stream: (say: Say) => Stream.Stream<Received, StreamError>
  /** Reads a turn's events up to the last one, also while it runs. Empty if you have already read the last event. */
  readonly events: (place: Place) => Stream.Stream<Received, EventsError>
}

/** A client of the service. It needs an `HttpClient`, such as `FetchHttpClient`. */
export class Client extends Context.Tag("taskchat/client/Client")<Client, Derived & Streams>() {
  static readonly layer = (options: ClientOptions): Layer.Layer<Client, never, HttpClient.HttpClient> =>
    Layer.effect(Client, make(options))
}

export const make = (options: ClientOptions): Effect.Effect<Derived & Streams, never, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const token = Effect.isEffect(options.token) ? options.token : Effect.succeed(options.token)
    const client = (yield* HttpClient.HttpClient).pipe(
      HttpClient.mapRequest(HttpClientRequest.prependUrl(String(options.baseUrl))),
      HttpClient.mapRequestEffect((request) =>
        Effect.map(token, (token) => HttpClientRequest.bearerToken(request, token))
      )
    )
    const derived: Derived = yield* HttpApiClient.makeWith(Api, { httpClient: client })
    const idle = options.idleTimeout ?? Duration.seconds(45)
    const open = yield* HttpApiClient.makeWith(Api, { httpClient: unread(client, idle) })
    const read = reader(options.retries ?? 5, idle)

    const events = ({ lastEventId, turnId, user }: Place) =>
      Effect.map(
        open.turns.events({
          path: { user_id: user, turn_id: turnId },
          headers: lastEventId === undefined ? {} : { "last-event-id": lastEventId },
          withResponse: true
        }),
        ([, response]) => response
      )

    return {
      ...derived,
      events: (place) => read<EventsError>(place, true, (at) => events({ ...place, ...at })),
      stream: ({ idempotencyKey, message, user, ...rest }) =>
        read<StreamError>({ user }, idempotencyKey !== undefined, ({ lastEventId, turnId }) =>
          turnId === undefined
            ? Effect.map(
                open.chat.stream({
                  path: { user_id: user },
                  headers: idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey },
                  payload: new ChatRequest({ message, ...rest }),
                  withResponse: true
                }),
                ([, response]) => response
              )
            : events({ user, turnId, ...(lastEventId === undefined ? {} : { lastEventId }) })
        )
    }
  })

/**
 * A client whose successful responses look empty to the derived methods, so that these decode errors but do not read
 * the stream. An error that does not come from the service, such as a proxy's, counts as a broken connection.
 */
const unread = (client: HttpClient.HttpClient, idle: Duration.DurationInput) => {
  const empty = Effect.succeed(new ArrayBuffer(0))
  return HttpClient.transform(client, (effect, request) =>
    effect.pipe(
      Effect.timeoutFail({
        duration: idle,
        onTimeout: () => new HttpClientError.RequestError({ request, reason: "Transport", description: "Silence" })
      }),
      Effect.flatMap(
        (response): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.ResponseError> => {
          if (response.status === 200) return Effect.succeed(Object.create(response, { arrayBuffer: { value: empty } }))
          const isOurs = response.headers["content-type"]?.startsWith("application/") === true
          return response.status < 500 || isOurs
            ? Effect.succeed(response)
            : new HttpClientError.ResponseError({ request, response, reason: "StatusCode" })
        }
      )
    )
  )
}

/** The most characters of one event: more than the largest answer. */
const maxLength = 32 * 1024 * 1024

type At = Omit<Place, "turnId"> & { readonly turnId?: TurnId }

/**
 * Reads the stream that `open` returns, and opens it again after the last event until it has read the end of the turn.
 */
const reader =
  (retries: number, idle: Duration.DurationInput) =>
  <E>(
    start: At,
    isRepeatable: boolean,
    open: (place: At) => Effect.Effect<HttpClientResponse.HttpClientResponse, E>
  ): Stream.Stream<Received, E | HttpClientError.HttpClientError | ParseResult.ParseError | StreamCut> =>
    Stream.suspend(() => {
      type Failure = E | HttpClientError.HttpClientError | ParseResult.ParseError | StreamCut
      let place = start
      let tries = 0
      let isOver = false

      const record = (event: Received) => {
        tries = 0
        isOver = event.done
        place = { ...place, ...("turnId" in event && { turnId: event.turnId }), lastEventId: event.id }
      }

      const connection = Stream.unwrap(
        Effect.map(
          Effect.suspend(() => open(place)),
          (response) => {
            if (response.status !== 204) return eventsOf(response, idle)
            isOver = true
            return Stream.empty
          }
        )
      )

      const attempt: Stream.Stream<Received, Failure> = Stream.suspend(() => {
        const isFirst = place === start && tries === 0
        return connection.pipe(
          Stream.tap((event) => Effect.sync(() => record(event))),
          Stream.takeUntil(() => isOver),
          Stream.catchAll(
            (error): Stream.Stream<Received, Failure> =>
              isCut(error) || (isWait(error) && !isFirst) ? reconnect(error) : Stream.fail(error)
          ),
          Stream.concat(Stream.suspend(() => (isOver ? Stream.empty : reconnect())))
        )
      })

      const reconnect = (cause?: unknown) => {
        const { lastEventId, turnId } = place
        return tries === retries || (turnId === undefined && !isRepeatable)
          ? Stream.fail(
              new StreamCut({
                ...(turnId !== undefined && { turnId }),
                ...(lastEventId !== undefined && { lastEventId }),
                ...(cause !== undefined && { cause })
              })
            )
          : Stream.concat(Stream.execute(backoff(tries++)), attempt)
      }

      return attempt
    })

const backoff = (tries: number) =>
  Effect.flatMap(Random.nextRange(0.5, 1), (jitter) =>
    Effect.sleep(Math.ceil(jitter * Math.min(250 * 2 ** tries, 5000)))
  )

/** Errors that may succeed at the next attempt. */
const isCut = (error: unknown) =>
  HttpClientError.isHttpClientError(error) &&
  (error._tag === "RequestError"
    ? error.reason === "Transport"
    : error.reason === "Decode" || error.response.status >= 500)

/** Errors after which a started stream waits and reconnects. */
const isWait = (error: unknown) => error instanceof Unavailable || error instanceof RateLimited

const decode = Schema.decodeUnknown(StreamEvent)

/** Ignores other events, which a later version may send. */
const isEventName = Schema.is(Schema.Literal("message", "turn", "tool_call", "tool_result"))

const eventsOf = (response: HttpClientResponse.HttpClientResponse, idle: Duration.DurationInput) =>
  Stream.suspend(() => {
    const reader = new EventReader(maxLength)
    const broken = (description: string) =>
      new HttpClientError.ResponseError({ request: response.request, response, reason: "Decode", description })
    return response.stream.pipe(
      Stream.timeoutFail(() => broken("Silence"), idle),
      Stream.mapChunksEffect((pieces) => {
        const received: Array<ServerSentEvent> = []
        for (const piece of pieces) if (!reader.read(piece, received)) return broken("An event is too large")
        return Effect.succeed(Chunk.unsafeFromArray(received))
      }),
      Stream.filter(({ event }) => isEventName(event)),
      Stream.mapEffect((received) => Effect.map(decode(received), (event): Received => ({ ...event, id: received.id })))
    )
  })
