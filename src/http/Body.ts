import type { HttpServerRequest } from "@effect/platform"
import { Effect, Stream } from "effect"
import { InvalidRequest, PayloadTooLarge, UnsupportedMediaType } from "../domain/Request.ts"

/** Bytes. */
export const maxBody = 256 * 1024

/**
 * A client has to have sent its body before it reads what is wrong with it. One that says beforehand that it is longer than
 * this is told at once.
 */
const maxWait = 8 * 1024 * 1024

/** Deeper JSON is no request of ours, and would overflow whoever walks through it. */
const maxDepth = 64

/**
 * Reads the request's body as JSON, whoever asks for it in whatever form: `HttpApi` chooses by the content type, and
 * this service takes no other. The failures are this service's problems; `HttpApi` turns them into defects, which
 * `Problems.ts` recognises.
 */
export const withBody = (request: HttpServerRequest.HttpServerRequest): HttpServerRequest.HttpServerRequest =>
  Object.create(request, forms)

const unsupported = Effect.dieSync(() => new UnsupportedMediaType())

/** Each member is told its receiver, whose prototype is the request itself. */
const forms: PropertyDescriptorMap & ThisType<HttpServerRequest.HttpServerRequest> = {
  json: {
    get() {
      const request: HttpServerRequest.HttpServerRequest = Object.getPrototypeOf(this)
      return isJson(request) ? json(request) : unsupported
    }
  },
  text: { value: unsupported },
  arrayBuffer: { value: unsupported },
  urlParamsBody: { value: unsupported },
  multipart: { value: unsupported }
}

/** Without a word on what it is, it is taken for what it has to be. */
const isJson = ({ headers }: HttpServerRequest.HttpServerRequest) =>
  /^\s*application\/json\s*(;|$)/i.test(headers["content-type"] ?? "application/json") &&
  /^\s*(identity)?\s*$/i.test(headers["content-encoding"] ?? "")

const json = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<unknown> =>
  Effect.flatMap(text(request), (body) => {
    if (depth(body) > maxDepth) return Effect.die(invalid("is nested too deeply"))
    return Effect.orDie(Effect.try({ try: (): unknown => JSON.parse(body), catch: () => invalid("is not valid JSON") }))
  })

const invalid = (message: string) => new InvalidRequest({ errors: [{ path: "", message: `the body ${message}` }] })

const text = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<string> => {
  const declared = Number(request.headers["content-length"])
  if (declared > maxWait) return Effect.die(new PayloadTooLarge())
  if (declared <= maxBody) return known(request)
  const decoder = new TextDecoder("utf-8", { fatal: true })
  let size = 0
  let body: string | undefined = ""
  const read = (chunk?: Uint8Array) => {
    if (body === undefined || size > maxBody) return
    try {
      body += decoder.decode(chunk, { stream: chunk !== undefined })
    } catch {
      body = undefined
    }
  }
  // Read to its end, however long: to stop in the middle would close the connection, and the answer with it.
  return Stream.runForEach(request.stream, (chunk) =>
    Effect.sync(() => {
      size += chunk.length
      read(chunk)
    })
  ).pipe(
    // It broke off: there is nobody left to answer.
    Effect.catchAll(() => Effect.interrupt),
    Effect.flatMap(() => {
      read()
      if (size > maxBody) return Effect.die(new PayloadTooLarge())
      return body === undefined ? Effect.die(invalid("is not UTF-8")) : Effect.succeed(body)
    })
  )
}

/** A body that the listener holds to a length it may have: all at once, which takes a twentieth of a stream's time. */
const known = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<string> =>
  request.arrayBuffer.pipe(
    Effect.catchAll(() => Effect.interrupt),
    Effect.flatMap((bytes) => {
      try {
        return Effect.succeed(new TextDecoder("utf-8", { fatal: true }).decode(bytes))
      } catch {
        return Effect.die(invalid("is not UTF-8"))
      }
    })
  )

/** How deeply a JSON text is nested, at least as far as it is JSON. */
const depth = (body: string) => {
  let depth = 0
  let deepest = 0
  let isString = false
  for (let i = 0; i < body.length; i++) {
    const c = body.charCodeAt(i)
    if (c === 0x5c) i++
    else if (c === 0x22) isString = !isString
    else if (isString) continue
    else if (c === 0x5b || c === 0x7b) deepest = Math.max(deepest, ++depth)
    else if (c === 0x5d || c === 0x7d) depth--
  }
  return deepest
}
