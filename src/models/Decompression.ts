import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from "node:zlib"

/** Takes a body's bytes as they come and hands them on as they were before they were compressed. */
export interface Decompression {
  /** Whether more may come now; if not, `onDrain` says when. */
  readonly write: (bytes: Uint8Array) => boolean
  /** No more comes. */
  readonly end: () => void
  readonly pause: () => void
  readonly resume: () => void
  readonly destroy: () => void
}

interface Handlers {
  readonly onData: (bytes: Uint8Array) => void
  readonly onDrain: () => void
  readonly onEnd: () => void
  readonly onError: (error: unknown) => void
}

/** For a `Content-Encoding`; `undefined` for one that is not understood. */
export const make = (encoding: string, handlers: Handlers): Decompression | undefined => {
  let stream: ReturnType<typeof createGunzip> | undefined
  const open = (first: Uint8Array) => {
    const made = decoder(encoding, first)
    if (made === undefined) return undefined
    made.on("data", handlers.onData)
    made.on("drain", handlers.onDrain)
    made.on("end", handlers.onEnd)
    made.on("error", handlers.onError)
    return made
  }
  if (decoder(encoding, new Uint8Array([0x78])) === undefined) return undefined
  return {
    write: (bytes) => {
      if (bytes.length === 0) return true
      stream ??= open(bytes)
      return stream?.write(bytes) ?? true
    },
    end: () => {
      if (stream === undefined) handlers.onEnd()
      else stream.end()
    },
    pause: () => stream?.pause(),
    resume: () => stream?.resume(),
    destroy: () => stream?.destroy()
  }
}

const decoder = (encoding: string, first: Uint8Array) => {
  switch (encoding) {
    case "gzip":
    case "x-gzip":
      return createGunzip()
    case "deflate":
      // With or without the header of zlib: senders do not agree.
      return ((first[0] ?? 0) & 0x0f) === 0x08 ? createInflate() : createInflateRaw()
    case "br":
      return createBrotliDecompress()
    default:
      return undefined
  }
}
