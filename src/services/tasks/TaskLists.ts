import type { SqlClient, Statement } from "@effect/sql"
import { Record } from "effect"
import { type Cursor, type Order, startOf } from "../../domain/Cursor.ts"
import type { UserId } from "../../domain/Id.ts"
import { length } from "../../domain/Json.ts"
import type { Priority } from "../../domain/Task.ts"
import { fold } from "../../domain/Text.ts"
import * as Memo from "../../runtime/Memo.ts"
import * as PreparedStatement from "../../runtime/PreparedStatement.ts"
import { taskText } from "./TaskStatements.ts"

/** The tasks to list; an absent or null member does not filter. Dates are `YYYY-MM-DD` and inclusive. */
export interface TaskQuery {
  readonly status?: "all" | "pending" | "completed" | null | undefined
  readonly priority?: Priority | null | undefined
  /** One of the task's labels, exactly. */
  readonly label?: string | null | undefined
  readonly dueBefore?: string | null | undefined
  readonly dueAfter?: string | null | undefined
  /** Only those without a due date. */
  readonly due?: "none" | null | undefined
  /** Text in the title or description, ignoring case and accents. */
  readonly query?: string | null | undefined
  /** Newest first when absent. */
  readonly sort?: Order | null | undefined
  /** 1 to 100; 50 when absent. */
  readonly limit?: number | null | undefined
  /** The cursor of a page in the same order. */
  readonly cursor?: Cursor | null | undefined
}

type Values = {
  owner: UserId
  completed: boolean | null
  priority: string | null
  label: string | null
  dueBefore: string | null
  dueAfter: string | null
  undated: true | null
  words: string | null
  trigrams: true | null
  limit: number
  time: string
  id: number
  dueDate: string
  dueAt: string
  rank: number
}

/**
 * Reads a page of tasks and one extra. Each kind of query has its own statement, so that each can use its index. The totals
 * of all and of pending tasks are stored; other queries count.
 */
export const make = (sql: SqlClient.SqlClient) => {
  type Given = PreparedStatement.Given<keyof Values>
  const rank = sql.literal(`coalesce(array_position(ARRAY['low', 'medium', 'high'], priority), 0)`)

  // What is not folded yet is searched as well as the database can. No text has the character in between.
  const searched = sql.literal(
    "(coalesce(title_search, lower(title)) || chr(1) || coalesce(description_search, lower(description), ''))"
  )

  /** Whether a node of the first version has written texts of the user that are to be folded before they are searched. */
  const unfolded = (p: Given) =>
    sql`EXISTS (SELECT FROM tasks t WHERE t.user_id = ${p.owner} AND t.title_search IS NULL)`

  const filters = {
    completed: (p: Given) => sql`(completed_at IS NOT NULL) = ${p.completed}::boolean`,
    priority: (p: Given) => sql`priority = ${p.priority}::text`,
    label: (p: Given) => sql`${p.label}::text = ANY(labels)`,
    dueBefore: (p: Given) => sql`due_date <= ${p.dueBefore}::date`,
    dueAfter: (p: Given) => sql`due_date >= ${p.dueAfter}::date`,
    undated: () => sql`due_date IS NULL`,
    words: (p: Given) => sql`strpos(${searched}, ${p.words}::text) > 0`,
    // Has an index, which finds some more than those.
    trigrams: (p: Given) =>
      sql`task_trigrams(user_id, ${searched}) @> task_trigrams(${p.owner}::bigint, ${p.words}::text)`
  }

  const orders = {
    created: {
      by: sql`created_at DESC, id DESC`,
      after: (p: Given) => sql`(created_at, id) < (${p.time}::timestamptz, ${p.id}::bigint)`
    },
    due: {
      by: sql`due_date, due_at, created_at DESC, id DESC`,
      after: (p: Given) => sql`(
        (coalesce(due_date, 'infinity'), coalesce(due_at, 'infinity')) > (${p.dueDate}::date, ${p.dueAt}::timestamptz)
        OR (coalesce(due_date, 'infinity'), coalesce(due_at, 'infinity')) = (${p.dueDate}::date, ${p.dueAt}::timestamptz)
          AND (created_at, id) < (${p.time}::timestamptz, ${p.id}::bigint))`
    },
    priority: {
      by: sql`${rank} DESC, created_at DESC, id DESC`,
      after: (p: Given) =>
        sql`(${rank}, created_at, id) < (${p.rank}::integer, ${p.time}::timestamptz, ${p.id}::bigint)`
    }
  }

  const byState = (p: Given) =>
    sql`CASE WHEN ${p.completed}::boolean THEN completed_tasks ELSE tasks - completed_tasks END`

  const statement = (order: Order, given: ReadonlyArray<keyof typeof filters>) => {
    const { after, by } = orders[order]
    return PreparedStatement.make<Values>(sql, (p) => {
      const matching = given.reduce(
        (before: Statement.Fragment, name) => sql`${before} AND ${filters[name](p)}`,
        sql`user_id = ${p.owner} AND deleted_at IS NULL`
      )
      const counted = given.every((name) => name === "completed")
        ? sql`
          SELECT coalesce((SELECT ${given.length === 0 ? sql`tasks` : byState(p)} FROM user_totals WHERE user_id = ${p.owner}), 0)`
        : sql`SELECT count(*)::integer FROM tasks WHERE ${matching}`
      return sql`
        SELECT total, unfolded, CASE WHEN id IS NOT NULL THEN ${taskText(sql, "page")} END AS task
        FROM (
          SELECT (${counted}) AS total, ${given.includes("words") ? unfolded(p) : sql`false`} AS unfolded
        ) AS counted
        LEFT JOIN (SELECT * FROM tasks WHERE ${matching} AND ${after(p)} ORDER BY ${by} LIMIT ${p.limit}) AS page ON true
        ORDER BY ${by}`
    })
  }

  const statements = Memo.byText((shape) => {
    const [order, ...given] = shape.split(" ")
    // Safe: that is what `select` below makes the text of.
    return statement(order as Order, given as ReadonlyArray<keyof typeof filters>)
  })

  return (owner: UserId, query: TaskQuery, limit: number) => {
    const order = query.sort ?? "created"
    const values = { owner, ...valuesOf(query), limit }
    const given = Record.keys(filters).filter((name) => values[name] !== null)
    return statements([order, ...given].join(" "))(values)
  }
}

const valuesOf = ({ cursor, due, dueAfter, dueBefore, label, priority, query, status }: TaskQuery) => {
  const words = fold(query ?? "")
  return {
    completed: status == null || status === "all" ? null : status === "completed",
    priority: priority ?? null,
    label: label ?? null,
    dueBefore: dueBefore ?? null,
    dueAfter: dueAfter ?? null,
    undated: due === "none" ? (true as const) : null,
    words: words || null,
    trigrams: length(words) < 3 ? null : (true as const),
    ...startOf(cursor)
  }
}
