import NIOCore

/// What the application wrote and is not encrypted yet, as references to its buffers, in order.
struct PlaintextQueue {
    /// The largest piece that becomes one TLS record here: a little below the 16 KiB of RFC 8446 section 5.1, so that four records
    /// with what encryption adds fit into one 64 KiB allocation.
    static let pieceSize = 16 * 1024 - 64

    private struct Write {
        var bytes: ByteBuffer
        let promise: EventLoopPromise<Void>?
    }

    private var writes = CircularBuffer<Write>()
    /// How many of `writes`, from the front, may leave.
    private var flushedWrites = 0
    /// The bytes in all writes, and in those that may leave.
    private(set) var bytes = 0
    private(set) var flushedBytes = 0

    /// Whether something may leave, be it only the promise of an empty write.
    var hasFlushed: Bool {
        flushedWrites > 0
    }

    mutating func append(_ buffer: ByteBuffer, promise: EventLoopPromise<Void>?) {
        writes.append(Write(bytes: buffer, promise: promise))
        bytes += buffer.readableBytes
    }

    /// All that was written so far may leave.
    mutating func flush() {
        flushedWrites = writes.count
        flushedBytes = bytes
    }

    /// Hands the next flushed bytes, at most `pieceSize` in one run of memory, to `encrypt`, and drops as many as it says it took.
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
    /// - Returns: the promises that nobody will keep now.
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
