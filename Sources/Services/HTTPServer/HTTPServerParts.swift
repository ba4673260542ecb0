import HTTP
import NIOCore
import Proxy
import Synchronization

/// Makes the answers to one connection's requests, one exchange after another. Called on the connection's event loop.
protocol HTTPExchange: AnyObject {
    /// A request begins.
    func begin(_ head: RequestHead, on eventLoop: any EventLoop) -> HTTPBeginning
    /// The next piece of the body.
    /// - Returns: the answer, if it does not depend on the rest; then that is not read, and the connection ends.
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

/// What becomes of a request after its head.
enum HTTPBeginning {
    /// Its body is read.
    case body
    /// Its answer does not depend on the body: that is not read, and the connection ends.
    case answer(Response)
    /// The body is not read before this has come: the answer, or `nil` when the body is to be read. It belongs to the connection's event
    /// loop and never fails.
    case wait(EventLoopFuture<Response?>)
}

/// What the connections of one listener share.
struct HTTPServerParts: Sendable {
    /// What those of all listeners share.
    struct Shared: Sendable {
        var date: DateText
        var turns: EventLoopTurns
        /// Bytes that were read and are not consumed.
        var reading: ByteBudget
        var slowReaders: SlowReaders
        var cutReaders: CutReaderMetrics
    }

    var shared: Shared
    var log: ConnectionLog

    init(_ shared: Shared, log: ConnectionLog) {
        self.shared = shared
        self.log = log
    }
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
