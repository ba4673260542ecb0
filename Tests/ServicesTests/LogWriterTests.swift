import Dispatch
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Services

@Suite("Lines of the log")
struct LogWriterTests {
    @Test("a reader that stops reading blocks no caller; it learns how many lines are missing, and the rest is whole")
    func stoppedReader() async throws {
        let pipe = try Pipe()
        defer { pipe.close() }
        let writer = try LogWriter(to: pipe.end) { dropped in "\(dropped) lines dropped\n" }
        let line = String(repeating: "x", count: 1023) + "\n"
        let fitting = LogWriter.limit / line.utf8.count

        // Nothing is read: beyond what the pipe holds and the limit, lines are dropped, and no call waits.
        let written = fitting + 200
        for _ in 0..<written { writer.write(line) }
        let received = Mutex([UInt8]())
        async let end: Void = pipe.readAll { bytes in received.withLock { $0 += bytes } }
        try await wait(for: "the lines that fit") { received.withLock { $0.count } >= LogWriter.limit }
        // The pipe holds 64 KiB, and the line that the thread waits with counts until it is written.
        writer.write("last\n")
        writer.flush()
        pipe.closeEnd()
        await end

        let text = received.withLock { String(decoding: $0, as: UTF8.self) }
        let lines = text.split(separator: "\n")
        let whole = lines.count { $0.utf8.count == 1023 }
        // There are several notices if the writing thread began late, when lines had been dropped already.
        let dropped = lines.compactMap { $0.wholeMatch(of: #/(\d+) lines dropped/#).flatMap { Int($0.output.1) } }
        #expect(dropped.reduce(whole, +) == written)
        #expect(lines.last == "last" && lines.count == whole + dropped.count + 1 && !dropped.isEmpty)
        #expect(whole >= fitting && whole <= fitting + 65)
    }
}

/// A pipe whose writing end is handed to the code under test.
private final class Pipe: Sendable {
    let begin: CInt
    let end: CInt
    private let isEndOpen = Mutex(true)

    init() throws {
        var descriptors: [CInt] = [-1, -1]
        guard pipe(&descriptors) == 0 else { throw NoPipe() }
        (begin, end) = (descriptors[0], descriptors[1])
    }

    struct NoPipe: Error {}

    /// Reads to the end, on a thread of its own.
    func readAll(_ body: @escaping @Sendable ([UInt8]) -> Void) async {
        await withCheckedContinuation { continuation in
            DispatchQueue(label: "reader").async { [begin] in
                var buffer = [UInt8](repeating: 0, count: 64 << 10)
                while true {
                    let count = read(begin, &buffer, buffer.count)
                    guard count > 0 else { break }
                    body(Array(buffer[..<count]))
                }
                continuation.resume()
            }
        }
    }

    func closeEnd() {
        isEndOpen.withLock { isOpen in
            if isOpen { Glibc.close(end) }
            isOpen = false
        }
    }

    func close() {
        closeEnd()
        Glibc.close(begin)
    }
}
