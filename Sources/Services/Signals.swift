import CSignals
import Glibc
import NIOPosix

/// Signals that the process handles instead of ending or ignoring them, in the order in which they come. One instance per process.
///
/// A handler writes each number into a pipe, and a thread of its own reads it.
struct Signals: Sendable {
    let received: AsyncStream<CInt>
    private let thread = NIOThreadPool(numberOfThreads: 1)

    /// - Throws: when there is no descriptor to be had.
    init(_ numbers: [CInt]) throws(SignalError) {
        let descriptor = csignals_trap(numbers, CInt(numbers.count))
        guard descriptor >= 0 else { throw SignalError(reason: errorText(errno)) }
        let (stream, continuation) = AsyncStream.makeStream(of: CInt.self)
        received = stream
        thread.start()
        thread.submit { _ in
            var number: UInt8 = 0
            while true {
                let count = read(descriptor, &number, 1)
                if count < 0, errno == EINTR { continue }
                guard count == 1, number != 0 else { break }
                continuation.yield(CInt(number))
            }
            continuation.finish()
        }
    }

    /// Ends the thread. Signals still have no effect of their own.
    func stop() async {
        csignals_end()
        try? await thread.shutdownGracefully()
    }
}

/// Why signals cannot be handled.
struct SignalError: Error, CustomStringConvertible {
    let reason: String

    var description: String { "cannot handle signals: \(reason)" }
}
