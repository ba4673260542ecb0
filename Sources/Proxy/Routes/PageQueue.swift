import HTTP
import NIOCore
import Synchronization

/// The queue of pages and lists. Every client can request them, and with many apps they are long work.
///
/// The queue has threads of its own, so that scrapes and reloads do not wait for it. The peers take turns, so that many requests from one
/// address do not delay the others. Requests that do not fit are refused at once.
final class PageQueue: Sendable {
    /// Requests that may wait, of all peers together.
    static let maxWaiting = 256
    /// Requests that may wait, of one address.
    static let maxWaitingOfOneAddress = 64

    /// The answer to a request for which there is no room.
    static let busy = Response.text(
        503, "too many pages are being written; try again", headers: [("Retry-After", "1"), Response.neverStored])

    typealias Work = @Sendable () -> Void

    private struct State {
        /// The waiting work by address; no queue is empty.
        var waiting: [String: CircularBuffer<Work>] = [:]
        /// The addresses whose work waits, in the order of their turns.
        var turns = CircularBuffer<String>()
        var count = 0
        /// Threads at work.
        var busyThreads = 0
    }

    private let offload: any Offload
    private let threads: Int
    /// Guards what waits.
    private let state = Mutex(State())

    /// - Parameters:
    ///   - offload: threads on which nothing else runs.
    ///   - threads: how many of them there are.
    init(offload: any Offload, threads: Int) {
        self.offload = offload
        self.threads = threads
    }

    /// Runs `work` on another thread when its turn comes.
    /// - Returns: whether there was room.
    func add(for peer: Peer, on eventLoop: any EventLoop, _ work: @escaping Work) -> Bool {
        let address = peer.address?.ipAddress ?? ""
        let (isAdmitted, begins) = state.withLock { state -> (Bool, Bool) in
            let ofAddress = state.waiting[address]?.count ?? 0
            guard state.count < Self.maxWaiting, ofAddress < Self.maxWaitingOfOneAddress else { return (false, false) }
            if ofAddress == 0 { state.turns.append(address) }
            state.waiting[address, default: []].append(work)
            state.count += 1
            guard state.busyThreads < threads else { return (true, false) }
            state.busyThreads += 1
            return (true, true)
        }
        if begins { _ = offload.run(on: eventLoop) { self.run() } }
        return isAdmitted
    }

    /// The response that `work` makes when its turn comes; `busy` when there is no room.
    func response(
        to request: Request, on eventLoop: any EventLoop, _ work: @escaping @Sendable () -> Response
    ) -> EventLoopFuture<Response> {
        let promise = eventLoop.makePromise(of: Response.self)
        if !add(for: request.peer, on: eventLoop, { promise.succeed(work()) }) { promise.succeed(Self.busy) }
        return promise.futureResult
    }

    private func run() {
        while let work = next() { work() }
    }

    private func next() -> Work? {
        state.withLock { state in
            guard let address = state.turns.popFirst(), var ofAddress = state.waiting.removeValue(forKey: address),
                let work = ofAddress.popFirst()
            else {
                state.busyThreads -= 1
                return nil
            }
            if !ofAddress.isEmpty {
                state.waiting[address] = ofAddress
                state.turns.append(address)
            }
            state.count -= 1
            return work
        }
    }
}
