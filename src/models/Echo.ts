import type { Prompt, Response } from "@effect/ai"
import * as ProviderState from "../domain/ProviderState.ts"

/*
 * What a provider wants back with its own answer: its reasoning, or signatures of it. It is sent to the base URL and the
 * model that it came from, and to no other.
 */

/**
 * By the host of its address. DeepSeek refuses a conversation without the thoughts that led to earlier calls; Google wants
 * signatures back with the history. Others pass over what is of an earlier turn, or count it against the context.
 */
const lastingHosts: ReadonlySet<string> = new Set(["api.deepseek.com", "generativelanguage.googleapis.com"])

export const lifetimeAt = ({ hostname }: URL): ProviderState.Lifetime =>
  lastingHosts.has(hostname) ? "conversation" : "turn"

/** Kept of one answer at most, in bytes of JSON; of what is larger nothing is kept. */
const maxSize = 64 * 1024

/** The metadata of an answer's `finish`: `state` of the provider at `origin`, if there is any. */
export const metadataOf = (
  origin: string,
  lifetime: ProviderState.Lifetime,
  state: object | undefined
): Response.ProviderMetadata => {
  if (state === undefined || Object.keys(state).length === 0) return {}
  const text = JSON.stringify(state)
  return Buffer.byteLength(text) > maxSize ? {} : ProviderState.metadataOf({ origin, lifetime, state: text })
}

/** What the provider at `origin` wants back with this message. */
export const stateOf = (origin: string, { options }: Prompt.AssistantMessage): unknown => {
  const kept = ProviderState.keptIn(options)
  return kept?.origin === origin ? JSON.parse(kept.state) : undefined
}

/** Adds a piece of text to what is kept, up to where it would not be kept anyway. */
export const append = (kept: string, piece: unknown): string =>
  typeof piece === "string" && kept.length <= maxSize ? kept + piece : kept
