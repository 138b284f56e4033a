import { Context, Option } from "effect"

/** Requests for one answer of a model, including the first one. */
const maxRequests = 4

/**
 * Counts all requests for one answer: the client that repairs a request and the caller that retries it share the limit.
 */
export class RequestLimit {
  #sent = 0

  get sent() {
    return this.#sent
  }

  get left() {
    return maxRequests - this.#sent
  }

  /** Counts one more request, and says whether it may be sent. */
  take(): boolean {
    if (this.left === 0) return false
    this.#sent++
    return true
  }
}

/** The limit for the current answer. The caller counts the first request. Without a limit, the client uses its own. */
export class CurrentRequestLimit extends Context.Reference<CurrentRequestLimit>()("taskchat/domain/RequestLimit", {
  defaultValue: (): Option.Option<RequestLimit> => Option.none()
}) {}
