import HTTP
import NIOCore
import Synchronization

/// The documents about all apps. With few apps they are written at once, with more on the threads of `PageQueue`. A list that is the same
/// for all requests is kept for a second, so that many requests, also pipelined ones, share it.
final class AppLists: Sendable {
    /// A list that depends only on the stored apps.
    enum List: Hashable, Sendable {
        case text(titleColumns: Int)
        case json
        case discovery(host: String, scheme: String)

        fileprivate func write(of entries: Snapshot.Entries) -> WrittenList {
            switch self {
            case .text(let columns): AppsTable.list(of: entries, titleColumns: columns)
            case .json: AppsJSON.list(of: entries)
            case .discovery(let host, let scheme): DiscoveryJSON.list(of: entries, host: host, scheme: scheme)
            }
        }
    }

    /// The largest number of apps whose list is written on an event loop. Many requests share it.
    static let quickApps = 250
    /// The largest number of apps whose page is written on an event loop. Each request has its own.
    static let quickPageApps = 50
    /// The bytes of names and errors, on average for each of the largest number of apps, that are written on an event loop.
    private static let quickAppBytes = 64
    /// How long a list is kept for other requests.
    private static let keptFor = TimeAmount.seconds(1)
    /// Lists that are kept at the same time.
    private static let maxKept = 4

    private struct Key: Hashable {
        var list: List
        var generation: UInt64
    }

    private let snapshots: SnapshotSource
    private let queue: PageQueue
    private let maxKeptBytes: Int
    private let writing = SharedWork<Key, WrittenList>()
    /// Guards the lists that were written last, the oldest first.
    private let kept = Mutex<[(key: Key, list: WrittenList)]>([])

    /// - Parameter maxKeptBytes: the most bytes of all lists that are kept. The newest one is kept even if it has more.
    init(snapshots: SnapshotSource, queue: PageQueue, maxKeptBytes: Int = 32 << 20) {
        self.snapshots = snapshots
        self.queue = queue
        self.maxKeptBytes = maxKeptBytes
    }

    /// Answers with a list of all apps. `respond` is called on the event loop.
    func answer(
        _ request: Request, with list: List, at now: Moment, on eventLoop: any EventLoop,
        _ respond: @escaping @Sendable (WrittenList) -> Response
    ) -> Answer {
        snapshots.answer(at: now, on: eventLoop) { [self] snapshot in
            let entries = snapshot.entries
            let key = Key(list: list, generation: snapshot.generation)
            if let known = kept.withLock({ $0.first { $0.key == key }?.list }) { return .now(respond(known)) }
            guard !Self.isQuick(entries, most: Self.quickApps) else {
                let written = list.write(of: entries)
                keep(written, for: key, on: eventLoop)
                return .now(respond(written))
            }
            let written = writing.value(of: key, for: QueuePeer(request.peer.address), on: eventLoop) { work in
                queue.add(for: request.peer, on: eventLoop, work)
            } make: { [self] in
                let written = list.write(of: entries)
                keep(written, for: key, on: eventLoop)
                return written
            }
            return .later(written.map { $0.map(respond) ?? PageQueue.busy })
        }
    }

    /// Answers with a page for only this request. `write` is called on the event loop when there are few apps.
    func answer(
        _ request: Request, at now: Moment, on eventLoop: any EventLoop, _ write: @escaping @Sendable (Snapshot.Entries) -> Response
    ) -> Answer {
        snapshots.answer(at: now, on: eventLoop) { [queue] snapshot in
            let entries = snapshot.entries
            guard !Self.isQuick(entries, most: Self.quickPageApps) else { return .now(write(entries)) }
            return .later(queue.response(to: request, on: eventLoop) { write(entries) })
        }
    }

    /// Whether a document about these apps takes about a millisecond or less: they are few, and their names and errors are short.
    /// - Parameter most: the largest number of apps.
    private static func isQuick(_ entries: Snapshot.Entries, most: Int) -> Bool {
        guard entries.count <= most else { return false }
        var bytes = 0
        for entry in entries { bytes += entry.name.description.utf8.count + (entry.error?.utf8.count ?? 0) }
        return bytes <= quickAppBytes * most
    }

    /// Answers keep the list while they send it. Here it is kept only for further requests.
    private func keep(_ list: WrittenList, for key: Key, on eventLoop: any EventLoop) {
        kept.withLock { kept in
            // No further request asks for an earlier state.
            kept.removeAll { $0.key.generation < key.generation }
            var bytes = kept.reduce(list.body.size) { $0 + $1.list.body.size }
            while !kept.isEmpty, kept.count >= Self.maxKept || bytes > maxKeptBytes {
                bytes -= kept.removeFirst().list.body.size
            }
            kept.append((key, list))
        }
        eventLoop.scheduleTask(in: Self.keptFor) { [weak self] in
            self?.kept.withLock { $0.removeAll { $0.key == key } }
        }
    }
}

/// A list of all apps, ready to be sent within a document.
struct WrittenList: Sendable {
    var body = SharedPieces()
    /// Columns within the frame of the text table.
    var columns = 0

    /// The size of a piece. A single buffer for a long list would have to grow, and would be held until its reader has taken all of it.
    private static let pieceSize = 64 << 10

    /// Moves the written bytes to the pieces when they are enough for one.
    mutating func take(_ buffer: inout ByteBuffer, isLast: Bool = false) {
        guard buffer.readableBytes >= Self.pieceSize || (isLast && buffer.readableBytes > 0) else { return }
        body.append(buffer)
        buffer = isLast ? ByteBuffer() : ByteBuffer.withExactCapacity(Self.pieceSize + 4096)
    }

    /// The document with this before and after the list.
    func document(head: ByteBuffer, tail: ByteBuffer = ByteBuffer()) -> SharedPieces {
        var document = SharedPieces()
        document.append(head)
        document.append(body)
        if tail.readableBytes > 0 { document.append(tail) }
        return document
    }
}

/// The queue of pages and lists. Every client can request them, and with many apps they are long work.
///
/// The queue has a thread of its own, so that scrapes and reloads do not wait for it. The peers take turns, so that many requests from one
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
        var waiting = FairQueue<Work>()
        /// Whether the thread works through the queue.
        var isBusy = false
    }

    private let offload: any Offload
    /// Guards what waits.
    private let state = Mutex(State())

    /// - Parameter offload: runs the work, one after another.
    init(offload: any Offload) { self.offload = offload }

    /// Runs `work` on another thread when its turn comes.
    /// - Returns: whether there was room.
    func add(for peer: Peer, on eventLoop: any EventLoop, _ work: @escaping Work) -> Bool {
        let address = QueuePeer(peer.address)
        let (isAdmitted, begins) = state.withLock { state -> (Bool, Bool) in
            guard state.waiting.count < Self.maxWaiting, state.waiting.count(of: address) < Self.maxWaitingOfOneAddress
            else { return (false, false) }
            state.waiting.append(work, of: address)
            defer { state.isBusy = true }
            return (true, !state.isBusy)
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
            let work = state.waiting.popFirst()
            state.isBusy = work != nil
            return work
        }
    }
}
