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
    @Test("a target that times out is polled each interval, also if its timeout is as long")
    func timeoutOfAnInterval() async throws {
        let shared = try await SharedContext()
        let eventLoop = shared.eventLoop
        let pool = PollingPool(budget: ByteBudget(), threads: 1)
        try pool.start()
        let ends = Mutex<[ContinuousClock.Instant]>([])
        try await HTTPTarget.with(answer: { _ in [] }) { server in
            let target = try Target(port: server.port, timeout: .milliseconds(400)).with { $0.interval = .milliseconds(400) }
            let polled = try PolledTarget(target: target, tls: nil, version: "test")
            let loop = try await eventLoop.submit {
                let loop = TargetLoop(
                    polled, in: shared.context.value, resolver: HostResolver(), pool: pool, logger: Logger(label: "test")
                ) { outcome, _ in
                    ends.withLock { $0.append(.now) }
                    return outcome
                } firstPollEnded: {
                }
                loop.start()
                return NIOLoopBound(loop, eventLoop: eventLoop)
            }.get()
            try await eventually { ends.withLock { $0.count } >= 6 }
            try await eventLoop.flatSubmit { loop.value.stop() }.get()
        }
        // The first poll is at a time of its own. With every second time missed, all others would be 0.8 seconds apart.
        let later = ends.withLock { Array($0.dropFirst()) }
        #expect(zip(later, later.dropFirst()).contains { $0.duration(to: $1) < .milliseconds(600) }, "\(later)")
        try await pool.end(on: eventLoop).get()
    }

    @Test("what is being decoded when the loop is stopped is not recorded")
    func stopWhileDecoding() async throws {
        let body = String(repeating: "metric_with_a_long_name{label=\"value\"} 12345\n", count: 20_000)
        #expect(body.utf8.count > BodyBytes.smallSize)
        let shared = try await SharedContext()
        let eventLoop = shared.eventLoop
        // Its only thread is busy until the loop has stopped.
        let pool = PollingPool(budget: ByteBudget(), threads: 1)
        try pool.start()
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
        try await pool.end(on: eventLoop).get()
    }
}
