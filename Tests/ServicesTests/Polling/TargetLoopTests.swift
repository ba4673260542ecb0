import Dispatch
import Logging
import NIOCore
import Proxy
import Synchronization
import TestSupport
import Testing

@testable import Services

@Suite("TargetLoop")
struct TargetLoopTests {
    @Test("what is being decoded when the loop is stopped is not recorded")
    func stopWhileDecoding() async throws {
        let body = String(repeating: "metric_with_a_long_name{label=\"value\"} 12345\n", count: 20_000)
        #expect(body.utf8.count > BodyBytes.smallSize)
        let shared = try await SharedContext()
        let eventLoop = shared.eventLoop
        // Its only thread is busy until the loop has stopped.
        let pool = PollingPool(budget: ByteBudget(), threads: 1)
        let gate = DispatchSemaphore(value: 0)
        let busy = pool.run(on: eventLoop) { gate.wait() }
        let recorded = Atomic(0)
        try await HTTPTarget.with(answer: { _ in [.respond(body)] }) { server in
            let target = try Target(port: server.port).with { $0.keepAlive = false }
            let polled = try PolledTarget(target: target, tls: nil, version: "test")
            let loop = try await eventLoop.submit {
                let loop = TargetLoop(
                    polled, in: shared.context.value, resolver: HostResolver(), pool: pool, logger: Logger(label: "test")
                ) { outcome, _ in
                    recorded.add(1, ordering: .relaxed)
                    return outcome
                } firstPollEnded: {
                }
                loop.start()
                return NIOLoopBound(loop, eventLoop: eventLoop)
            }.get()
            // Then the whole body has come.
            try await eventually { server.connections == 1 && server.openConnections == 0 }
            try await eventLoop.flatSubmit { loop.value.stop() }.get()
        }
        gate.signal()
        try await busy.get()
        // The thread does one after another.
        try await pool.run(on: eventLoop) {}.get()
        #expect(recorded.load(ordering: .relaxed) == 0)
        try await pool.shutdown(on: eventLoop).get()
    }
}
