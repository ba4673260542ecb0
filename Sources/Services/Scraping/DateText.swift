import Proxy
import Synchronization

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
