import Dispatch
import Glibc
import Synchronization

/// Writes log lines to standard error on a thread of its own, so that a blocked reader of the log blocks no event loop.
/// At most `limit` bytes wait. Lines beyond that are dropped, and their number is logged when there is room again.
public final class LogWriter: Sendable {
    /// The limit of waiting bytes.
    static let limit = 1 << 20

    private struct Waiting {
        var bytes = 0
        var dropped = 0
    }

    /// Makes the line about dropped lines, in the log's own format.
    private let notice: @Sendable (_ dropped: Int) -> String
    private let thread = ThreadPool("log")
    private let waiting = Mutex(Waiting())

    private let descriptor: CInt

    /// - Parameters:
    ///   - descriptor: where lines go.
    ///   - notice: makes the line about dropped lines.
    /// - Throws: when the system grants no thread.
    public init(to descriptor: CInt, notice: @escaping @Sendable (_ dropped: Int) -> String) throws {
        self.descriptor = descriptor
        self.notice = notice
        try thread.start()
    }

    deinit { thread.end() }

    /// Adds one line with its newline. Never blocks.
    public func write(_ line: String) {
        let size = line.utf8.count
        let dropped: Int? = waiting.withLock { waiting in
            guard waiting.bytes + size <= LogWriter.limit else {
                waiting.dropped += 1
                return nil
            }
            waiting.bytes += size
            defer { waiting.dropped = 0 }
            return waiting.dropped
        }
        guard let dropped else { return }
        thread.submit { [self] _ in
            if dropped > 0 { put(notice(dropped)) }
            put(line)
            waiting.withLock { $0.bytes -= size }
        }
    }

    /// Waits until all added lines are written, for at most one second. Call before the process exits.
    public func flush() {
        let done = DispatchSemaphore(value: 0)
        thread.submit { [self] _ in
            let dropped = waiting.withLock { waiting in
                defer { waiting.dropped = 0 }
                return waiting.dropped
            }
            if dropped > 0 { put(notice(dropped)) }
            done.signal()
        }
        _ = done.wait(timeout: .now() + .seconds(1))
    }

    private func put(_ text: String) {
        var text = text
        _ = text.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: descriptor) }
    }
}

/// Writes all bytes to a descriptor, and waits while it takes none. If a write fails, for example because the reader is gone or the disk is
/// full, the rest is dropped.
/// - Returns: 0, or the `errno` of the write that failed.
@discardableResult
public func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: CInt) -> CInt {
    var rest = bytes
    while !rest.isEmpty {
        let written = Glibc.write(descriptor, rest.baseAddress, rest.count)
        if written < 0 {
            switch errno {
            case EINTR: continue
            case EAGAIN:
                // Another process that shares the descriptor has made it non-blocking.
                var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&ready, 1, -1)
                continue
            case let error: return error
            }
        }
        if written > 0 { rest = UnsafeRawBufferPointer(rebasing: rest[written...]) }
    }
    return 0
}
