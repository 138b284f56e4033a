import { Context } from "effect"

/** Whether the node is about to stop. It still serves, but is no longer ready, so that balancers send new requests elsewhere. */
export class Leaving extends Context.Reference<Leaving>()("taskchat/http/Leaving", {
  defaultValue: (): { readonly isLeaving: boolean } => ({ isLeaving: false })
}) {}
