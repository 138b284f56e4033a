import { joined } from "../runtime/Bytes.ts"

export interface ServerSentEvent {
  /** `message` unless the event has a name. */
  readonly event: string
  /** The last event id so far, empty before the first. */
  readonly id: string
  readonly data: string
}

/**
 * Reads `text/event-stream` in pieces. A piece may end anywhere: within a character, a line ending or an event.
 * Comments and unknown fields are ignored. Each byte is read once, so many small pieces of a long event cost no more
 * than one piece.
 */
export class EventReader {
  readonly #limit: number
  /** The first bytes of an incomplete character. */
  #rest: Uint8Array | undefined
  #isFirst = true
  #line = ""
  #data: string | undefined
  #event = ""
  #id = ""
  #afterReturn = false

  /** `limit` is the most characters of one event. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Appends each event that `bytes` completes. False if the current event exceeds the limit. */
  read(bytes: Uint8Array, out: Array<ServerSentEvent>): boolean {
    const text = this.#lines(this.#decode(bytes))
    let from = 0
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", from)) {
      const line = this.#line === "" ? text.slice(from, end) : this.#line + text.slice(from, end)
      this.#line = ""
      from = end + 1
      if (line === "") this.#dispatch(out)
      else if (!this.#field(line)) return false
    }
    if (from < text.length) this.#line += text.slice(from)
    return this.#line.length + (this.#data?.length ?? 0) <= this.#limit
  }

  /** Appends the last event without its empty line, which some servers leave out. */
  end(out: Array<ServerSentEvent>): void {
    if (this.#line !== "") this.#field(this.#line)
    this.#line = ""
    this.#dispatch(out)
  }

  #decode(bytes: Uint8Array): string {
    const all = this.#rest === undefined ? bytes : joined([this.#rest, bytes])
    const end = all.length - unfinished(all)
    this.#rest = end < all.length ? all.slice(end) : undefined
    const text = decoder.decode(all.subarray(0, end))
    if (text === "" || !this.#isFirst) return text
    this.#isFirst = false
    return text.startsWith("\uFEFF") ? text.slice(1) : text
  }

  /** Replaces CRLF and CR by LF. A CR at the end of a piece ends the line, even if the next piece begins with LF. */
  #lines(text: string): string {
    if (text === "") return text
    const rest = this.#afterReturn && text.startsWith("\n") ? text.slice(1) : text
    this.#afterReturn = text.endsWith("\r")
    return rest.includes("\r") ? rest.replace(/\r\n?/g, "\n") : rest
  }

  #field(line: string): boolean {
    if (line.startsWith("data:")) {
      const value = line.slice(line[5] === " " ? 6 : 5)
      this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`
    } else if (line === "data") {
      this.#data = this.#data === undefined ? "" : `${this.#data}\n`
    } else if (line.startsWith("event:")) {
      this.#event = line.slice(line[6] === " " ? 7 : 6)
    } else if (line.startsWith("id:") && !line.includes("\0")) {
      this.#id = line.slice(line[3] === " " ? 4 : 3)
    }
    return (this.#data?.length ?? 0) <= this.#limit
  }

  #dispatch(out: Array<ServerSentEvent>): void {
    if (this.#data !== undefined && this.#data !== "") {
      out.push({ event: this.#event === "" ? "message" : this.#event, id: this.#id, data: this.#data })
    }
    this.#data = undefined
    this.#event = ""
  }
}

/** Shared and stateless: a decoder for each answer would double the memory of an answer by 3 KB. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/** The number of bytes at the end that begin an incomplete UTF-8 character. */
const unfinished = (bytes: Uint8Array): number => {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0
    if (byte < 0x80) return 0
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? back : 0
  }
  return 0
}
