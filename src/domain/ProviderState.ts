import { Predicate, Schema } from "effect"

/** State that a model's provider wants back with its answer in later requests. Opaque, and only sent to that provider. */
export const ProviderState = Schema.Struct({
  step: Schema.Int,
  /** The base URL and the model that it came from, and is sent back to. */
  origin: Schema.String,
  /** JSON. */
  state: Schema.String
})
export type ProviderState = typeof ProviderState.Type

/** How long it is sent back: within its turn, or in later turns too. */
export type Lifetime = "turn" | "conversation"

/** The part that model layers produce and receive. */
export interface Kept extends Pick<ProviderState, "origin" | "state"> {
  readonly lifetime?: Lifetime
}

/** Carries it as metadata of an answer's `finish`, and as options of its message in later prompts. */
export const metadataOf = ({ lifetime, origin, state }: Kept) => ({
  taskchat: { origin, ...(lifetime !== undefined && { lifetime }), state }
})

/** Reads it from metadata or options. */
export const keptIn = ({ taskchat: kept }: { readonly [key: string]: unknown }): Kept | undefined =>
  isKept(kept) ? kept : undefined

const isKept = (u: unknown): u is Kept =>
  Predicate.isRecord(u) && Predicate.isString(u["origin"]) && Predicate.isString(u["state"])
