import CInotify
import Glibc
import Synchronization

/// The thread on which a `WatchLoop` runs.
final class WatchThread: Sendable {
    let counters = WatchCounters()
    let sizeLimit: Int
    private let mailbox: Mailbox
    private let handle: pthread_t
    private let lastID = Atomic(0)

    /// Files above this size are not read. For them another size, modification time or inode counts as another content.
    static let sizeLimit = 16 << 20

    /// Starts the thread, and waits until inotify has got its descriptor.
    init(
        sizeLimit: Int = WatchThread.sizeLimit, retryInterval: Duration = .seconds(30),
        makeSource: @escaping ChangeSourceFactory = { () throws(InotifyError) in try Inotify() }
    ) throws(WatchError) {
        self.sizeLimit = sizeLimit
        mailbox = try Mailbox()
        let ready = Gate()
        let body = { @Sendable [mailbox, counters] in
            WatchLoop(
                mailbox: mailbox, sizeLimit: sizeLimit, retryInterval: retryInterval, counters: counters, makeSource: makeSource
            ).run(ready: ready)
        }
        handle = try Self.start(body)
        ready.wait()
    }

    /// Whether the caller runs on this thread, in a callback.
    var isCurrent: Bool { pthread_equal(pthread_self(), handle) != 0 }

    /// A number for a new subscription.
    func makeID() -> Int { lastID.add(1, ordering: .relaxed).newValue }

    func send(_ order: WatchOrder) { mailbox.send(order) }

    /// Ends the thread and waits for its end. Called once, and not on the thread itself.
    func quit() {
        mailbox.send(.quit)
        pthread_join(handle, nil)
    }

    private final class Work {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    private static func start(_ body: @escaping @Sendable () -> Void) throws(WatchError) -> pthread_t {
        var thread = pthread_t()
        let work = Unmanaged.passRetained(Work(body))
        // A new thread inherits the mask: no signal is delivered to this one.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                cinotify_name_thread("config-watch")
                Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, work.toOpaque())
        pthread_sigmask(SIG_SETMASK, &before, nil)
        guard code == 0 else {
            work.release()
            throw WatchError(doing: "start a thread", code: code)
        }
        return thread
    }
}

/// Orders from any thread to the loop's thread, which can wait for them with `poll(2)`.
final class Mailbox: Sendable {
    /// Readable while there are orders.
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
        // It fails only when the counter is full, and the loop then wakes up anyway.
        _ = write(descriptor, &one, 8)
    }

    /// Everything sent so far, in order.
    func empty() -> [WatchOrder] {
        var count: UInt64 = 0
        // Read before taking the orders, so that an order in between wakes the loop once more.
        _ = read(descriptor, &count, 8)
        return orders.withLock { orders in
            defer { orders = [] }
            return orders
        }
    }
}

/// An order for the loop.
enum WatchOrder: Sendable {
    case subscribe(Int, Listener, WatchTiming)
    /// Watch these files and no others.
    case watch(Int, [String: FileState])
    /// Opens the gate when no callback runs any more.
    case unsubscribe(Int, Gate)
    case quit

    /// The callbacks of a watcher.
    struct Listener: Sendable {
        let onNotice: @Sendable (WatchNotice) -> Void
        let onChange: @Sendable (Set<String>) -> Void
    }
}

/// The thread that all `FileWatcher`s of the process share, because libinotifytools exists once per process. It runs while there is a
/// watcher.
enum SharedWatchThread {
    private struct Current {
        let thread: WatchThread
        var users: Int
    }

    /// Held while a thread ends, so that a new one does not request the library before the old one has released it.
    private static let current = Mutex<Current?>(nil)

    static func enter() throws(WatchError) -> WatchThread {
        try current.withLock { current throws(WatchError) in
            var using: Current
            if let current { using = current } else { using = Current(thread: try WatchThread(), users: 0) }
            using.users += 1
            current = using
            return using.thread
        }
    }

    static func leave() {
        current.withLock { current in
            guard var using = current else { return }
            using.users -= 1
            current = using
            // A thread cannot wait for its own end: it stays, asleep, for the next watcher.
            guard using.users == 0, !using.thread.isCurrent else { return }
            using.thread.quit()
            current = nil
        }
    }
}

/// Closed until a thread opens it once. `wait` blocks until then.
///
/// `@unchecked Sendable`: the pointer never changes, and a POSIX semaphore is made to be used by several threads at once.
/// It is freed when no reference to the gate is left, so no thread can be inside `open` or `wait`.
final class Gate: @unchecked Sendable {
    private let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        semaphore = .allocate(capacity: 1)
        semaphore.initialize(to: sem_t())
        sem_init(semaphore, 0, 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func open() {
        sem_post(semaphore)
    }

    func wait() {
        while sem_wait(semaphore) != 0 && errno == EINTR {}
    }

    /// Waits at most this long.
    /// - Returns: whether it is open.
    func wait(within time: Duration) -> Bool {
        // sem_timedwait(3) uses the wall clock: a clock that is set back would prolong the wait.
        let deadline = ContinuousClock.now + time
        while sem_trywait(semaphore) != 0 {
            guard ContinuousClock.now < deadline else { return false }
            usleep(1000)
        }
        return true
    }
}
