import { Predicate, Schema } from "effect"

/** What a model's provider wants back with its answer in later requests: opaque, and for nobody else. */
export const ProviderState = Schema.Struct({
  step: Schema.Int,
  /** The base URL and the model that it came from, and is sent back to. */
  origin: Schema.String,
  /** JSON. */
  state: Schema.String
})
export type ProviderState = typeof ProviderState.Type

/** How long a provider wants it back: in the turn that it came in, or in later turns too. */
export type Lifetime = "turn" | "conversation"

/** The part of it that models are given and give. */
export interface Kept extends Pick<ProviderState, "origin" | "state"> {
  readonly lifetime?: Lifetime
}

/** Where it is carried: metadata of an answer's `finish`, and options of its message in later prompts. */
export const metadataOf = ({ lifetime, origin, state }: Kept) => ({
  taskchat: { origin, ...(lifetime !== undefined && { lifetime }), state }
})

/** What is carried in metadata or options, if anything is. */
export const keptIn = ({ taskchat: kept }: { readonly [key: string]: unknown }): Kept | undefined =>
  isKept(kept) ? kept : undefined

const isKept = (u: unknown): u is Kept =>
  Predicate.isRecord(u) && Predicate.isString(u["origin"]) && Predicate.isString(u["state"])
