import { Context } from "effect"

/**
 * Whether the node is stopping: it still serves, but is not ready, so that load balancers send new requests elsewhere.
 */
export class Draining extends Context.Reference<Draining>()("taskchat/http/Draining", {
  defaultValue: (): { readonly isDraining: boolean } => ({ isDraining: false })
}) {}
