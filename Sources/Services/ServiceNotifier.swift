import Glibc
import Logging
import NIOCore
import Proxy
import Synchronization

/// Reports the state of the program to the service manager (sd_notify(3)). Without `NOTIFY_SOCKET`, nothing is sent.
///
/// If the socket is gone, or full for two seconds, the message is lost. While it stays full, further messages are lost at once.
final class ServiceNotifier: Sendable {
    /// Where messages go; `nil` when none are sent.
    private let address: UnixAddress?
    private let descriptor: CInt
    /// Sends the messages in order, because sending to a full socket blocks.
    private let thread = ThreadPool("notify")
    /// Whether the last message was lost because the socket was full. Used only on the thread.
    private let isFull = Atomic(false)
    /// Whether a stop has begun: from then on only signs of life are sent. Used only on the thread.
    private let isStopping = Atomic(false)
    /// The time between two messages to the watchdog; `nil` without one.
    private let watchdogPeriod: Duration?
    private let logger: Logger

    /// How often the status is compared with the last one that was sent.
    private static let statusPeriod = Duration.seconds(10)
    /// The longest wait for a full socket, in seconds.
    private static let sendTimeout = 2

    /// Reads the environment variables and removes them. Called once, before other threads read the environment.
    /// - Throws: when the system grants no thread.
    static func take(logger: Logger) throws(ThreadError) -> ServiceNotifier {
        let names = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]
        let values = names.map { getenv($0).map { String(cString: $0) } }
        for name in names { unsetenv(name) }
        var address: UnixAddress?
        if let socket = values[0], !socket.isEmpty {
            address = UnixAddress(notifySocket: socket)
            if address == nil {
                logger.warning("NOTIFY_SOCKET is neither a path nor an abstract socket: no messages are sent to the service manager")
            }
        }
        return try ServiceNotifier(address, watchdog: WatchdogTime(microseconds: values[1], process: values[2]), logger: logger)
    }

    init(_ address: UnixAddress?, watchdog: WatchdogTime?, logger: Logger) throws(ThreadError) {
        descriptor = address == nil ? -1 : socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        self.address = descriptor < 0 ? nil : address
        // A shorter period would take a core.
        watchdogPeriod = address == nil ? nil : watchdog.map { max($0.time / 2, .milliseconds(1)) }
        self.logger = logger
        guard self.address != nil else { return }
        var timeout = timeval(tv_sec: Self.sendTimeout, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        try thread.start()
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    // MARK: - Messages

    /// The listeners are up, or a reload has ended. Returns when the message is sent or lost, so that messages do not accumulate.
    func ready(_ status: String) async { await send("READY=1\nSTATUS=\(Self.line(status))") }

    /// A reload begins. It does not wait for a full socket.
    func reloading() {
        let message = "RELOADING=1\nMONOTONIC_USEC=\(SystemClock.monotonic() / 1000)\nSTATUS=reloading the configuration"
        post { if !$0.isStopping.load(ordering: .relaxed) { $0.sendNow(message) } }
    }

    /// A stop begins. It does not wait for a full socket.
    func stopping() {
        post {
            $0.sendNow("STOPPING=1\nSTATUS=stopping")
            $0.isStopping.store(true, ordering: .relaxed)
        }
    }

    private func send(_ message: String, isSignOfLife: Bool = false) async {
        guard address != nil else { return }
        try? await thread.run {
            if isSignOfLife || !self.isStopping.load(ordering: .relaxed) { self.sendNow(message) }
        }
    }

    private func post(_ body: @escaping @Sendable (ServiceNotifier) -> Void) {
        guard address != nil else { return }
        thread.submit { isActive in
            if isActive { body(self) }
        }
    }

    private func sendNow(_ message: String) {
        guard let address else { return }
        var message = message
        // Only the first message waits. Otherwise the waits of all would add up, and delay each reload and the stop.
        let flags = CInt(MSG_NOSIGNAL | (isFull.load(ordering: .relaxed) ? MSG_DONTWAIT : 0))
        let sent = message.withUTF8 { bytes in
            address.withSocketAddress { sendto(descriptor, bytes.baseAddress, bytes.count, flags, $0, $1) }
        }
        let code = errno
        guard sent < 0 else { return isFull.store(false, ordering: .relaxed) }
        if code == EAGAIN { isFull.store(true, ordering: .relaxed) }
        logger.debug("cannot send a message to the service manager", metadata: [LogKey.error: "\(SystemError.text(code))"])
    }

    /// The status as one line: a newline would begin another assignment.
    private static func line(_ text: String) -> String { PrintableText(text).text }

    // MARK: - Watchdog

    /// Sends `WATCHDOG=1` periodically while every event loop responds, and the status when it changes. Runs until it is cancelled.
    /// - Parameters:
    ///   - group: has the timers.
    ///   - eventLoopsAnswer: returns when each of them has answered; false when they have ended.
    ///   - status: the text now.
    func reportUntilCancelled(
        on group: any EventLoopGroup, eventLoopsAnswer: @escaping @Sendable () async -> Bool, status: @escaping @Sendable () async -> String
    ) async {
        guard address != nil else { return }
        await withTaskGroup(of: Void.self) { reports in
            if let period = watchdogPeriod {
                reports.addTask {
                    var next = ContinuousClock.now
                    while !Task.isCancelled {
                        guard await eventLoopsAnswer() else { return }
                        await self.send("WATCHDOG=1", isSignOfLife: true)
                        next = max(next + period, .now)
                        guard (try? await group.sleep(for: next - .now)) != nil else { return }
                    }
                }
            }
            reports.addTask {
                var sent = await status()
                while (try? await group.sleep(for: Self.statusPeriod)) != nil {
                    let now = await status()
                    if now != sent { await self.send("STATUS=\(Self.line(now))") }
                    sent = now
                }
            }
        }
    }

    /// Ends the thread, after the messages that wait.
    func stop() async {
        guard address != nil else { return }
        try? await thread.run {}
        await thread.end()
    }
}

extension UnixAddress {
    /// Where the service manager receives messages: a path, or `@` and an abstract name.
    /// - Parameter text: the value of `NOTIFY_SOCKET`.
    init?(notifySocket text: String) {
        let bytes = text.utf8
        guard bytes.count > 1, !bytes.contains(0) else { return nil }
        switch bytes.first {
        case UInt8(ascii: "/") where bytes.count <= Self.maxPathLength: self.init(path: text)
        case UInt8(ascii: "@") where bytes.count - 1 <= Self.maxPathLength: self.init(abstract: bytes.dropFirst())
        default: return nil
        }
    }
}

/// The time in which the service manager expects the next `WATCHDOG=1`.
struct WatchdogTime: Equatable, Sendable {
    let time: Duration

    /// - Parameters: the values of `WATCHDOG_USEC` and `WATCHDOG_PID`, which names another process when it is not for this one.
    init?(microseconds: String?, process: String?) {
        guard let microseconds, let count = Int64(microseconds), count > 0, count <= Int64.max / 1000 else { return nil }
        if let process, pid_t(process) != getpid() { return nil }
        time = .microseconds(count)
    }
}
