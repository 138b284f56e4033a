import { Data } from "effect"
import type { Draft } from "./Phrases.ts"
import type { Filter, Target } from "./Targets.ts"

/** A change of one or more tasks. */
export type Change = Data.TaggedEnum<{
  Title: { readonly title: string }
  Description: { readonly description: string }
  Priority: { readonly priority: string }
  AddLabels: { readonly labels: ReadonlyArray<string> }
  RemoveLabels: { readonly labels: ReadonlyArray<string> }
  Due: { readonly due: string }
  /** `by` is a duration: "2 days". */
  Postpone: { readonly by: string }
  Repeat: { readonly repeat: string }
  Clear: { readonly field: "description" | "priority" | "labels" | "due" | "repeat" }
}>
export const Change = Data.taggedEnum<Change>()

interface Aimed {
  readonly target: Target
  /** The request, if it may also be a new task: "finish the slides". */
  readonly action?: string
}

/** What the user asks for. */
export type Command = Data.TaggedEnum<{
  Add: { readonly tasks: ReadonlyArray<Draft> }
  List: { readonly filter: Filter; readonly counts: boolean; readonly byDate?: boolean }
  More: {}
  Show: { readonly target: Target }
  Complete: Aimed & { readonly completed: boolean }
  Update: Aimed & { readonly change: Change }
  Delete: Aimed
  Undo: {}
  /** A request that no tool can fulfil. */
  Unsupported: { readonly what: string }
  Help: {}
  Greeting: {}
  Thanks: {}
  Yes: {}
  No: {}
  /** Only a reference to tasks, as an answer to a question. */
  Pointer: { readonly target: Target }
  /** Something to do, without a request to add it. */
  Action: { readonly text: string }
  Unknown: { readonly text: string }
}>
export const Command = Data.taggedEnum<Command>()
