import { Data } from "effect"
import type { NewTask } from "./Phrases.ts"
import type { Filter, Target } from "./Targets.ts"

/** What a request is to change on tasks. */
export type Change = Data.TaggedEnum<{
  Title: { readonly title: string }
  Description: { readonly description: string }
  Priority: { readonly priority: string }
  AddLabels: { readonly labels: ReadonlyArray<string> }
  RemoveLabels: { readonly labels: ReadonlyArray<string> }
  Due: { readonly due: string }
  Clear: { readonly field: "description" | "priority" | "labels" | "due" }
}>
export const Change = Data.taggedEnum<Change>()

/** What a user asks for. */
export type Command = Data.TaggedEnum<{
  Add: { readonly tasks: ReadonlyArray<NewTask> }
  List: { readonly filter: Filter; readonly counts: boolean }
  More: {}
  Show: { readonly target: Target }
  Complete: { readonly target: Target; readonly completed: boolean }
  Update: { readonly target: Target; readonly change: Change }
  Delete: { readonly target: Target }
  Undo: {}
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
