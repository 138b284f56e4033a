import { Predicate, Schema } from "effect"

/**
 * State that a provider expects back with its answer in later requests. It is opaque and sent only to that provider.
 */
export const ProviderState = Schema.Struct({
  step: Schema.Int,
  /** The base URL and the model that produced the state and get it back. */
  origin: Schema.String,
  /** JSON. */
  state: Schema.String
})
export type ProviderState = typeof ProviderState.Type

/** How long the state is sent back: within its turn, or also in later turns. */
export type Lifetime = "turn" | "conversation"

/** The state as model layers produce and receive it. */
export interface Kept extends Pick<ProviderState, "origin" | "state"> {
  readonly lifetime?: Lifetime
}

/** The state as metadata of an answer's `finish`, and as options of its message in later prompts. */
export const metadataOf = ({ lifetime, origin, state }: Kept) => ({
  taskchat: { origin, ...(lifetime !== undefined && { lifetime }), state }
})

/** Reads the state from metadata or options. */
export const keptIn = ({ taskchat: kept }: { readonly [key: string]: unknown }): Kept | undefined =>
  isKept(kept) ? kept : undefined

const isKept = (u: unknown): u is Kept =>
  Predicate.isRecord(u) && Predicate.isString(u["origin"]) && Predicate.isString(u["state"])
