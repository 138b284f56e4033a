import { Data } from "effect"
import type { Draft } from "./Phrases.ts"
import type { Filter, Target } from "./Targets.ts"

/** What a request is to change on tasks. */
export type Change = Data.TaggedEnum<{
  Title: { readonly title: string }
  Description: { readonly description: string }
  Priority: { readonly priority: string }
  AddLabels: { readonly labels: ReadonlyArray<string> }
  RemoveLabels: { readonly labels: ReadonlyArray<string> }
  Due: { readonly due: string }
  /** Later by so much: "2 days". */
  Postpone: { readonly by: string }
  Repeat: { readonly repeat: string }
  Clear: { readonly field: "description" | "priority" | "labels" | "due" | "repeat" }
}>
export const Change = Data.taggedEnum<Change>()

interface Aimed {
  readonly target: Target
  /** The request, if it may be something to do itself: "finish the slides". */
  readonly deed?: string
}

/** What a user asks for. */
export type Command = Data.TaggedEnum<{
  Add: { readonly tasks: ReadonlyArray<Draft> }
  List: { readonly filter: Filter; readonly counts: boolean; readonly byDate?: boolean }
  More: {}
  Show: { readonly target: Target }
  Complete: Aimed & { readonly completed: boolean }
  Update: Aimed & { readonly change: Change }
  Delete: Aimed
  Undo: {}
  /** What there is no tool for. */
  Missing: { readonly what: string }
  Help: {}
  Greeting: {}
  Thanks: {}
  Yes: {}
  No: {}
  /** Words that only point at tasks: an answer to a question. */
  Pointer: { readonly target: Target }
  /** Something to do, without a word of adding it. */
  Deed: { readonly text: string }
  Unknown: { readonly text: string }
}>
export const Command = Data.taggedEnum<Command>()
