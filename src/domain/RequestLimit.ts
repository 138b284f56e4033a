import { Context, Option } from "effect"

/** Requests for one answer of a model, the first one included. */
const maxRequests = 4

/**
 * Counts the requests that are sent for one answer, by whoever sends them: a client that repairs a request shares the limit
 * with the caller who tries again.
 */
export class RequestLimit {
  #sent = 0

  get sent() {
    return this.#sent
  }

  get left() {
    return maxRequests - this.#sent
  }

  /** Whether one more may be sent, which is then counted. */
  take(): boolean {
    if (this.left === 0) return false
    this.#sent++
    return true
  }
}

/** The limit of the answer that is asked for; its first request is counted by the caller. None: the client has its own. */
export class CurrentRequestLimit extends Context.Reference<CurrentRequestLimit>()("taskchat/domain/RequestLimit", {
  defaultValue: (): Option.Option<RequestLimit> => Option.none()
}) {}
