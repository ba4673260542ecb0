import NIOCore

/// Takes writes from the application, keeps them as references, and encrypts and sends them while the channel is writable.
/// It is a class because `flush` calls back synchronously, and the callback must see its current state.
final class EncryptingOutput {
    /// How a run ended.
    enum Result {
        /// All flushed bytes have left.
        case drained
        /// Bytes wait until the channel is writable, the peer sends something, or the next turn.
        case unfinished
        /// An outer run continues.
        case isRunning
    }

    /// Four records of `PlaintextQueue.pieceSize` make one write of 64 KiB: a system call per record costs a third more.
    private static let piecesPerWrite = 4
    /// The number of writes in one run before other connections on the event loop have their turn.
    private static let writesPerTurn = 16

    private(set) var queue = PlaintextQueue()
    /// `flush` calls back synchronously (writability, promises). Only one run happens at a time; the outer run sees the changes.
    private var isRunning = false
    private var announcedWritability = true
    private var missedWritabilityChange = false
    /// Nothing can be encrypted before the peer has sent the rest of a message: OpenSSL reads it first.
    private(set) var waitsForPeer = false

    func append(_ bytes: ByteBuffer, promise: EventLoopPromise<Void>?) {
        queue.append(bytes, promise: promise)
    }

    /// Allows sending everything that was written so far.
    func flush() {
        queue.flush()
    }

    /// Drops what is queued.
    func fail(with error: any Error) {
        for promise in queue.takeAll() { promise.fail(error) }
    }

    /// Encrypts and sends while the network takes it.
    /// - Parameters:
    ///   - mayEncrypt: asked before each write, because a write may end the connection.
    ///   - callsAgain: called when other connections on the event loop must have their turn first.
    /// - Throws: what broke the connection.
    func run(
        _ connection: TLSConnection?, _ context: ChannelHandlerContext, while mayEncrypt: () -> Bool, callsAgain: () -> Void
    ) throws(TLSError) -> Result {
        guard !isRunning else { return .isRunning }
        isRunning = true
        defer { isRunning = false }
        missedWritabilityChange = false
        waitsForPeer = false
        var writes = 0
        while mayEncrypt(), queue.hasFlushed, context.channel.isWritable {
            guard writes < Self.writesPerTurn else {
                callsAgain()
                break
            }
            writes += 1
            guard let connection else { break }
            guard try encryptOneWrite(connection, context) else {
                waitsForPeer = true
                break
            }
        }
        return queue.hasFlushed ? .unfinished : .drained
    }

    /// - Returns: whether another write may make progress.
    private func encryptOneWrite(_ connection: TLSConnection, _ context: ChannelHandlerContext) throws(TLSError) -> Bool {
        let room = Self.piecesPerWrite * PlaintextQueue.pieceSize
        connection.reserveCiphertext(min(queue.flushedBytes, room) + 64 * Self.piecesPerWrite, from: context.channel.allocator)
        var promises: [EventLoopPromise<Void>] = []
        do throws(TLSError) {
            for _ in 0..<Self.piecesPerWrite where queue.hasFlushed {
                try queue.takePiece(appendingPromisesTo: &promises) { bytes throws(TLSError) in try connection.write(bytes) }
            }
        } catch {
            for promise in promises { promise.fail(error) }
            throw error
        }
        let ciphertext = connection.takeCiphertext()
        // Without a byte OpenSSL must read from the peer before it encrypts more.
        guard ciphertext.readableBytes > 0 || !promises.isEmpty else { return false }
        context.writeAndFlush(NIOAny(ciphertext), promise: joined(promises))
        return true
    }

    /// Returns one promise that completes all of them. All are for the same ciphertext.
    private func joined(_ promises: [EventLoopPromise<Void>]) -> EventLoopPromise<Void>? {
        guard let first = promises.first else { return nil }
        for promise in promises.dropFirst() { first.futureResult.cascade(to: promise) }
        return first
    }

    // MARK: Writability

    /// - Returns: whether the caller may act on it; during a run it is only noted.
    func writabilityChanged() -> Bool {
        if isRunning { missedWritabilityChange = true }
        return !isRunning
    }

    func announceWritability(_ context: ChannelHandlerContext) {
        let isWritable = context.channel.isWritable
        // During the run a handler may have read `isWritable` as false, without an announcement. It waits for the announcement of true.
        guard isWritable != announcedWritability || (missedWritabilityChange && isWritable) else { return }
        missedWritabilityChange = false
        announcedWritability = isWritable
        context.fireChannelWritabilityChanged()
    }
}

/// The application's writes that are not encrypted yet, as references to its buffers, in order.
struct PlaintextQueue {
    /// The largest piece that becomes one TLS record here: a little below the 16 KiB of RFC 8446 section 5.1, so that four records
    /// with what encryption adds fit into one 64 KiB allocation.
    static let pieceSize = 16 * 1024 - 64

    private struct Write {
        var bytes: ByteBuffer
        let promise: EventLoopPromise<Void>?
    }

    private var writes = CircularBuffer<Write>()
    /// How many of `writes`, from the front, are flushed.
    private var flushedWrites = 0
    /// The bytes in all writes, and in the flushed ones.
    private(set) var bytes = 0
    private(set) var flushedBytes = 0

    /// Whether a flushed write is queued. It may be an empty one with a promise.
    var hasFlushed: Bool {
        flushedWrites > 0
    }

    mutating func append(_ buffer: ByteBuffer, promise: EventLoopPromise<Void>?) {
        writes.append(Write(bytes: buffer, promise: promise))
        bytes += buffer.readableBytes
    }

    /// Allows sending everything that was written so far.
    mutating func flush() {
        flushedWrites = writes.count
        flushedBytes = bytes
    }

    /// Passes the next flushed bytes, at most `pieceSize` and contiguous, to `encrypt`, and drops as many as that returns.
    /// - Returns: the promises of the writes that are now wholly taken.
    mutating func takePiece(
        appendingPromisesTo promises: inout [EventLoopPromise<Void>], _ encrypt: (UnsafeRawBufferPointer) throws(TLSError) -> Int
    ) throws(TLSError) {
        dropFinishedWrites(appendingPromisesTo: &promises)
        guard flushedBytes > 0, let first = writes.first else { return }
        let taken: Int
        if first.bytes.readableBytes >= Self.pieceSize || flushedWrites == 1 {
            taken = try first.bytes.withReadable(upTo: Self.pieceSize, encrypt)
        } else {
            var joined = ByteBufferAllocator().buffer(capacity: min(Self.pieceSize, flushedBytes))
            for write in writes.prefix(flushedWrites) {
                let room = Self.pieceSize - joined.readableBytes
                guard room > 0 else { break }
                write.bytes.withUnsafeReadableBytes { _ = joined.writeBytes($0.prefix(room)) }
            }
            taken = try joined.withReadable(upTo: Self.pieceSize, encrypt)
        }
        drop(taken)
        dropFinishedWrites(appendingPromisesTo: &promises)
    }

    /// Empties the queue.
    /// - Returns: the promises, for the caller to fail.
    mutating func takeAll() -> [EventLoopPromise<Void>] {
        let promises = writes.compactMap(\.promise)
        self = PlaintextQueue()
        return promises
    }

    private mutating func drop(_ count: Int) {
        var left = count
        var index = writes.startIndex
        while left > 0, index < writes.endIndex {
            let step = min(left, writes[index].bytes.readableBytes)
            writes[index].bytes.moveReaderIndex(forwardBy: step)
            left -= step
            index = writes.index(after: index)
        }
        bytes -= count
        flushedBytes -= count
    }

    private mutating func dropFinishedWrites(appendingPromisesTo promises: inout [EventLoopPromise<Void>]) {
        while flushedWrites > 0, let first = writes.first, first.bytes.readableBytes == 0 {
            if let promise = first.promise { promises.append(promise) }
            writes.removeFirst()
            flushedWrites -= 1
        }
    }
}

extension ByteBuffer {
    /// `withUnsafeReadableBytes` for a body that throws `TLSError`.
    fileprivate func withReadable(
        upTo limit: Int, _ body: (UnsafeRawBufferPointer) throws(TLSError) -> Int
    ) throws(TLSError) -> Int {
        let result: Result<Int, TLSError> = withUnsafeReadableBytes { bytes in
            do throws(TLSError) {
                return .success(try body(UnsafeRawBufferPointer(rebasing: bytes.prefix(limit))))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}
