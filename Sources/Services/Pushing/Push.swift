import Glibc
import NIOCore
import NIOPosix
import Proxy
import TLS

/// Reads all of the input, sends it, and waits until the receiver has applied it.
/// - Throws: before anything is sent when the input or the TLS files are at fault; otherwise nothing of the message was applied, or,
///   after a timeout or a cut connection, that is not known.
public func push(_ job: PushJob) async throws(PushFailure) {
    // A receiver that is gone must be an error of one write, not the end of the process.
    signal(SIGPIPE, SIG_IGN)
    let tls = try PushTLS(job)
    let metrics = try PushInput(file: job.file).read()
    let encoder: PushEncoder
    do throws(PushEncoder.InvalidMetrics) {
        encoder = try PushEncoder(app: job.app, metrics: metrics, format: job.format)
    } catch {
        throw PushFailure("\(job.file ?? "standard input"): \(error)")
    }

    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let eventLoop = group.next()
    let ended = eventLoop.makePromise(of: Result<Void, PushFailure>.self)
    eventLoop.execute {
        PushClient(encoder, to: job.address, tls: tls, timeout: job.timeout, on: eventLoop) { ended.succeed($0) }.start()
    }
    let result = (try? await ended.futureResult.get()) ?? .failure(PushFailure("\(job.address): stopped"))
    try? await group.shutdownGracefully()
    try result.get()
}
