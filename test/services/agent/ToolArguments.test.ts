import { assert, it } from "@effect/vitest"
import { Either } from "effect"
import * as ToolSchemas from "../../../src/services/agent/ToolSchemas.ts"
import { TaskTools } from "../../../src/services/tasks/TaskTools.ts"

const read = (name: string, given: unknown) => ToolSchemas.read(TaskTools.tools, name, given)

it("numbers, booleans, lists and choices are accepted as strings", () => {
  for (const [name, given, meant] of [
    ["get_task", { task_id: " 7 " }, { task_id: 7 }],
    ["get_task", '{"task_id": 7}', { task_id: 7 }],
    ["mark_complete", { task_ids: "[1, 2]", completed: "False" }, { task_ids: [1, 2], completed: false }],
    ["mark_complete", { task_ids: "1, 2" }, { task_ids: [1, 2] }],
    ["mark_complete", { task_ids: 1, completed: "" }, { task_ids: [1], completed: null }],
    ["create_task", { title: "t", labels: '["a,b", "c"]' }, { title: "t", labels: ["a,b", "c"] }],
    ["create_task", { title: "t", labels: "home, work" }, { title: "t", labels: ["home", "work"] }],
    ["create_task", { title: "t", priority: " High" }, { title: "t", priority: "high" }],
    ["create_task", { title: "t", priority: "none", due_date: null }, { title: "t", priority: null }],
    ["create_task", { title: "7" }, { title: "7" }],
    ["create_tasks", { tasks: '[{"title":"a"}]' }, { tasks: [{ title: "a" }] }],
    ["create_tasks", { tasks: ['{"title":"a","priority":"LOW"}'] }, { tasks: [{ title: "a", priority: "low" }] }],
    ["create_tasks", { tasks: { title: "a" } }, { tasks: [{ title: "a" }] }],
    ["update_task", { task_id: 1, clear: "due" }, { task_id: 1, clear: ["due"] }],
    ["list_tasks", { limit: "20", status: "Pending" }, { limit: 20, status: "pending" }]
  ] as const) {
    assert.deepStrictEqual([name, given, read(name, given)], [name, given, Either.right(meant)])
  }
})

it("the error for a wrong argument says in plain words what is accepted", () => {
  for (const [name, given, problem] of [
    ["create_task", {}, "title is missing"],
    ["create_task", { title: 7 }, "title must be text"],
    ["create_task", { title: "t", due_date: "friday" }, "due_date is unknown: use due"],
    [
      "create_task",
      { title: "t", dueDate: "friday", tags: [] },
      "dueDate is unknown: use due; tags is unknown: use labels"
    ],
    ["create_task", { title: "t", priority: "urgent" }, "priority must be low, medium or high"],
    ["create_tasks", { tasks: [{ title: "t", notes: "n" }] }, "tasks.0.notes is unknown: use description"],
    ["create_tasks", { tasks: ["buy milk"] }, "tasks.0 must be an object"],
    ["create_tasks", { tasks: "buy milk" }, "tasks must be a list (1 to 25 tasks)"],
    ["get_task", { id: 7 }, "task_id is missing; id is unknown: use task_id"],
    ["get_task", { task_id: "seven" }, "task_id must be a number"],
    ["get_task", { task_id: "7.5" }, "task_id must be a whole number"],
    ["update_task", { task_id: 1, completed: true }, "completed is unknown: use mark_complete"],
    ["update_task", { task_id: 1, titel: "t" }, "titel is unknown: use title"],
    ["mark_complete", { task_id: 1, completed: "perhaps" }, "completed must be true or false"],
    ["delete_task", { task_id: 1, colour: "red" }, "colour is unknown: there are task_id"]
  ] as const) {
    assert.deepStrictEqual(
      [name, given, read(name, given)],
      [name, given, Either.left(`The arguments do not fit the tool: ${problem}.`)]
    )
  }
  assert.deepStrictEqual(
    read("create_task", "buy milk"),
    Either.left("The arguments are not valid JSON, or no object.")
  )
})
