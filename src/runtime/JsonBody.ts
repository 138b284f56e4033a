import type { HttpServerRequest } from "@effect/platform"
import { Effect, Either } from "effect"
import { parseJson } from "../domain/JsonText.ts"
import { InvalidRequest, PayloadTooLarge, UnsupportedMediaType } from "../domain/Request.ts"
import * as Pull from "./Pull.ts"

/** Bytes. */
export const maxBody = 256 * 1024

/**
 * A client has to have sent its body before it reads what is wrong with it. One that says beforehand that it is longer than
 * this is told at once.
 */
export const maxWait = 8 * 1024 * 1024

type Refusal = InvalidRequest | PayloadTooLarge | UnsupportedMediaType

/** The request's body, which has to be JSON. */
export const json = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<unknown, Refusal> =>
  isJson(request) ? Effect.flatMap(text(request), parse) : new UnsupportedMediaType()

/** Without a word on what it is, it is taken for what it has to be. */
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
  // A body that the listener holds to a length it may have comes all at once.
  return declared <= maxBody ? Effect.flatMap(orLeave(request.arrayBuffer), decode) : pieces(request)
}

/** It broke off: there is nobody left to answer. */
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
    // Read to its end, however long: to stop in the middle would close the connection, and the answer with it.
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
