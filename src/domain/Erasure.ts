import { Problem } from "./Problem.ts"

/** All of the user's data is being erased; meanwhile it can be neither read nor written. */
export class ErasureInProgress extends Problem("ErasureInProgress", {
  status: 409,
  codes: ["erasure_in_progress"],
  title: "Erasure in progress",
  detail: "All of your data is being erased. Try again when that is done."
}) {}
