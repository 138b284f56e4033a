import type { Prompt, Response } from "@effect/ai"
import { Predicate } from "effect"
import { isFields } from "./Fields.ts"

/*
 * What a provider wants back with its own answer: its reasoning, or signatures of it. It is opaque to us, goes along as
 * metadata of the answer's `finish` and as options of its message in a later prompt, and is sent to the base URL and the
 * model that it came from, and to no other.
 */

/** How long a provider wants it back: in the turn that it came in, or in later turns too. */
export type Lifetime = "turn" | "conversation"

/**
 * By the host of its address. DeepSeek refuses a conversation without the thoughts that led to earlier calls; Google wants
 * signatures back with the history. Others pass over what is of an earlier turn, or count it against the context.
 */
const lastingHosts: ReadonlySet<string> = new Set(["api.deepseek.com", "generativelanguage.googleapis.com"])

export const lifetimeAt = ({ hostname }: URL): Lifetime => (lastingHosts.has(hostname) ? "conversation" : "turn")

/** Kept of one answer at most, in bytes of JSON; of what is larger nothing is kept. */
const maxSize = 64 * 1024

const key = "taskchat"

/** The metadata of an answer's `finish`: `state` of the provider at `origin`, if there is any. */
export const metadataOf = (
  origin: string,
  lifetime: Lifetime,
  state: object | undefined
): Response.ProviderMetadata => {
  if (state === undefined || Object.keys(state).length === 0) return {}
  const text = JSON.stringify(state)
  return Buffer.byteLength(text) > maxSize ? {} : { [key]: { origin, lifetime, state: text } }
}

/** What the provider at `origin` wants back with this message. */
export const stateOf = (origin: string, { options }: Prompt.AssistantMessage): unknown => {
  const kept: unknown = Predicate.hasProperty(options, key) ? options[key] : undefined
  return isFields<"origin" | "state">(kept) && kept.origin === origin && typeof kept.state === "string"
    ? JSON.parse(kept.state)
    : undefined
}

/** Adds a piece of text to what is kept, up to where it would not be kept anyway. */
export const append = (kept: string, piece: unknown): string =>
  typeof piece === "string" && kept.length <= maxSize ? kept + piece : kept
