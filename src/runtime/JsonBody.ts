import type { HttpServerRequest } from "@effect/platform"
import { Effect, Either } from "effect"
import { parseJson } from "../domain/JsonText.ts"
import { InvalidRequest, PayloadTooLarge, UnsupportedMediaType } from "../domain/Request.ts"
import * as Pull from "./Pull.ts"

/** Bytes. */
export const maxBody = 256 * 1024

/**
 * Bytes. Clients read the answer after they have sent the body, so a body that is too long is read to its end first. One
 * that is declared longer than this is refused at once.
 */
export const maxWait = 8 * 1024 * 1024

type Refusal = InvalidRequest | PayloadTooLarge | UnsupportedMediaType

/** The request's body, which has to be JSON. */
export const json = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<unknown, Refusal> =>
  isJson(request) ? Effect.flatMap(text(request), parse) : new UnsupportedMediaType()

/** A body without `Content-Type` is taken for JSON. */
const isJson = ({ headers }: HttpServerRequest.HttpServerRequest) =>
  /^\s*application\/json\s*(;|$)/i.test(headers["content-type"] ?? "application/json") &&
  /^\s*(identity)?\s*$/i.test(headers["content-encoding"] ?? "")

const parse = (body: string): Effect.Effect<unknown, InvalidRequest> =>
  Either.match(parseJson(body), { onLeft: invalid, onRight: Effect.succeed })

const invalid = (message: string) => new InvalidRequest({ errors: [{ path: "", message: `the body ${message}` }] })

const text = (
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<string, InvalidRequest | PayloadTooLarge> => {
  const declared = Number(request.headers["content-length"])
  if (declared > maxWait) return new PayloadTooLarge()
  // A body whose declared length is allowed is read at once; the listener enforces the length.
  return declared <= maxBody ? Effect.flatMap(orLeave(request.arrayBuffer), decode) : pieces(request)
}

/** The body broke off: there is no client left to answer. */
const orLeave = <A, E>(body: Effect.Effect<A, E>) => Effect.catchAll(body, () => Effect.interrupt)

const decoder = new TextDecoder("utf-8", { fatal: true })

const decode = (bytes: ArrayBuffer): Effect.Effect<string, InvalidRequest> => {
  try {
    return Effect.succeed(decoder.decode(bytes))
  } catch {
    return notText
  }
}

const notText = Effect.suspend(() => invalid("is not UTF-8"))

const pieces = (request: HttpServerRequest.HttpServerRequest) =>
  Effect.suspend(() => {
    const decoder = new TextDecoder("utf-8", { fatal: true })
    let size = 0
    let body: string | undefined = ""
    const read = (piece?: Uint8Array) => {
      if (body === undefined || size > maxBody) return
      try {
        body += decoder.decode(piece, { stream: piece !== undefined })
      } catch {
        body = undefined
      }
    }
    // Read to the end, however long: stopping in the middle would close the connection before the answer.
    const all = Pull.runForEachChunk(request.stream, (chunk) => {
      for (const piece of chunk) {
        size += piece.length
        read(piece)
      }
    })
    return Effect.flatMap(orLeave(all), (): Effect.Effect<string, InvalidRequest | PayloadTooLarge> => {
      read()
      if (size > maxBody) return new PayloadTooLarge()
      return body === undefined ? notText : Effect.succeed(body)
    })
  })
