import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from "node:zlib"

/** Decompresses a body as its bytes arrive. */
export interface Decompression {
  /** False if the caller must wait for `onDrain` before the next write. */
  readonly write: (bytes: Uint8Array) => boolean
  /** Call after the last write. */
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

/** A decompressor for a `Content-Encoding`. `undefined` for an unknown encoding. */
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
      // Some servers send a zlib header, others do not.
      return ((first[0] ?? 0) & 0x0f) === 0x08 ? createInflate() : createInflateRaw()
    case "br":
      return createBrotliDecompress()
    default:
      return undefined
  }
}
