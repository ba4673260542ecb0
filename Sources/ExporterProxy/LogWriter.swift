import Dispatch
import Glibc
import Synchronization

/// Writes log lines to standard error from a thread of its own: a reader of our log that stops reading must not stop an event loop.
/// At most `limit` bytes wait; what comes beyond is dropped, and the number of lines dropped is said when there is room again.
final class LogWriter: Sendable {
    private static let limit = 1 << 20

    private struct Waiting {
        var bytes = 0
        var dropped = 0
    }

    /// A line of the log's own format that says how many are missing.
    private let notice: @Sendable (_ dropped: Int) -> String
    private let queue = DispatchQueue(label: "exporter-proxy.log")
    private let waiting = Mutex(Waiting())

    /// - Parameter notice: makes the line that says how many are missing.
    init(notice: @escaping @Sendable (_ dropped: Int) -> String) { self.notice = notice }

    /// Hands over one line, its newline included. Never blocks.
    func write(_ line: String) {
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
        queue.async { [self] in
            if dropped > 0 { LogWriter.put(notice(dropped)) }
            LogWriter.put(line)
            waiting.withLock { $0.bytes -= size }
        }
    }

    /// Waits until what was handed over is written, for one second at most. Call before the process exits.
    func flush() {
        let done = DispatchSemaphore(value: 0)
        queue.async { [self] in
            let dropped = waiting.withLock { waiting in
                defer { waiting.dropped = 0 }
                return waiting.dropped
            }
            if dropped > 0 { LogWriter.put(notice(dropped)) }
            done.signal()
        }
        _ = done.wait(timeout: .now() + .seconds(1))
    }

    private static func put(_ text: String) {
        var text = text
        text.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: STDERR_FILENO) }
    }
}
