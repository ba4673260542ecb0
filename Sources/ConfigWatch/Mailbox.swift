import CInotify
import Glibc
import Synchronization

/// Orders from any thread to the loop's thread, which can wait for them with `poll(2)`.
final class Mailbox: Sendable {
    /// Readable while there is mail.
    let descriptor: Int32
    private let orders = Mutex<[WatchOrder]>([])

    init() throws(WatchError) {
        descriptor = cinotify_eventfd()
        guard descriptor >= 0 else { throw WatchError(doing: "make an eventfd", code: errno) }
    }

    deinit {
        close(descriptor)
    }

    func send(_ order: WatchOrder) {
        orders.withLock { $0.append(order) }
        var one: UInt64 = 1
        // Fails only when the counter is full, and then the loop wakes up anyway.
        _ = write(descriptor, &one, 8)
    }

    /// Everything sent so far, in order.
    func empty() -> [WatchOrder] {
        var count: UInt64 = 0
        // Before the orders are taken: an order that comes in between wakes the loop once more.
        _ = read(descriptor, &count, 8)
        return orders.withLock { orders in
            defer { orders = [] }
            return orders
        }
    }
}

/// What the loop may be told to do.
enum WatchOrder: Sendable {
    case subscribe(Int, Listener, WatchTiming)
    /// Watch these files and no others; those already watched keep what is known of them unless `replacing`.
    case watch(Int, [String: FileState], replacing: Bool)
    /// Opens the gate when nothing is called any more.
    case unsubscribe(Int, Gate)
    case quit

    /// Whom to tell.
    struct Listener: Sendable {
        let onNotice: @Sendable (WatchNotice) -> Void
        let onChange: @Sendable (Set<String>) -> Void
    }
}
