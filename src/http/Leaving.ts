import { Context } from "effect"

/** Whether the node is stopping: it still serves, but is not ready, so that load balancers send new requests elsewhere. */
export class Leaving extends Context.Reference<Leaving>()("taskchat/http/Leaving", {
  defaultValue: (): { readonly isLeaving: boolean } => ({ isLeaving: false })
}) {}
