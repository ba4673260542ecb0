import HTTP
import NIOCore
import Proxy
import Synchronization

/// Makes the answers to one connection's requests, one exchange after another. Called on the connection's event loop.
protocol HTTPExchange: AnyObject {
    /// A request begins.
    /// - Returns: the answer, if it does not depend on the body; then the body is not read, and the connection ends.
    func begin(_ head: RequestHead) -> Response?
    /// The next piece of the body.
    /// - Returns: as for `begin`.
    func take(_ piece: ByteBuffer) -> Response?
    /// The request is complete.
    func end(on eventLoop: any EventLoop) -> Answer
    /// The answer to a request that cannot be read any further.
    func refuse(_ error: RequestError) -> Response
    /// This answer is about to be sent.
    func willSend(_ response: Response)
    /// The connection has ended, maybe within an exchange.
    func ended()
}

extension HTTPExchange {
    func ended() {}
}

/// What the connections of one server share.
struct HTTPServerParts: Sendable {
    var date: DateText
    var turns: EventLoopTurns
    /// Bytes that were read and are not consumed.
    var reading: ByteBudget
    var slowReaders: SlowReaders
    var cutReaders: CutReaderMetrics
    var log: ConnectionLog
}

/// The value of `Date` headers, written once a second and shared by all connections.
final class DateText: Sendable {
    private let clock: @Sendable () -> Timestamp
    /// Guards the second and its text.
    private let cached = Mutex((second: Int64.min, text: ""))

    init(clock: @escaping @Sendable () -> Timestamp) { self.clock = clock }

    var now: String {
        let time = clock()
        let second = time.nanoseconds / 1_000_000_000
        return cached.withLock { cached in
            if cached.second != second { cached = (second, time.httpDate) }
            return cached.text
        }
    }
}
