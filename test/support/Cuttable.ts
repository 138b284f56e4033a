import { connect, createServer, type Socket } from "node:net"
import { Effect } from "effect"

/** A proxy to `port` that can cut all connections. */
export const cuttable = (port: number) =>
  Effect.acquireRelease(
    Effect.async<{ readonly port: number; readonly cut: () => void; readonly close: () => void }>((resume) => {
      const sockets = new Set<Socket>()
      const join = (from: Socket, to: Socket) => {
        sockets.add(from)
        from.on("error", () => to.destroy())
        from.on("close", () => sockets.delete(from))
        from.pipe(to)
      }
      const server = createServer((client) => {
        const service = connect(port, "127.0.0.1")
        join(client, service)
        join(service, client)
      })
      const cut = () => {
        for (const socket of sockets) socket.destroy()
      }
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(
          Effect.succeed({
            port: typeof address === "object" && address !== null ? address.port : 0,
            cut,
            close: () => {
              server.close()
              cut()
            }
          })
        )
      })
    }),
    ({ close }) => Effect.sync(close)
  )
