import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// Looks up host names on threads, each name once at a time. NIO's resolver has one queue for each event loop, so a name server that
/// does not answer would delay the lookups of all other targets. Used from any thread.
final class HostResolver: Sendable {
    /// The addresses of a name, in the system's order of preference (RFC 6724). Their port is 0.
    struct Addresses: Equatable, Sendable {
        var v4: [SocketAddress] = []
        var v6: [SocketAddress] = []
    }

    /// Why a lookup failed: the system's text.
    struct LookupError: Error, Equatable {
        let reason: String
    }

    /// Names that are looked up at the same time. More wait for a thread, each until its deadline.
    static let maxLookups = 64
    /// A name server that does not answer takes some seconds, one that does a fraction of one.
    static let slowAfter = TimeAmount.seconds(1)
    private static let stopping = "the program stops"

    /// The polls that wait for one name.
    private struct Lookup {
        var promises: [EventLoopPromise<Addresses>] = []
        /// After this moment, no poll waits for it any more.
        var deadline: NIODeadline
    }

    private struct State {
        var lookups: [String: Lookup] = [:]
        /// Names that wait for a thread, in the order in which they came.
        var waiting: [String] = []
        /// Threads are made when names need them: most targets are addresses, and most names have one name server that answers.
        var threads: [ThreadPool] = []
        var idle: [ThreadPool] = []
        var isEnded = false
        /// Names whose last lookup took long.
        var slow: Set<String> = []
        /// Those of them that are being looked up.
        var slowLookups: Set<String> = []
        /// How many of them may be looked up at the same time: other names do not wait for them.
        let maxSlowLookups: Int

        /// Whether a thread may look up this name now.
        func mayBegin(_ host: String) -> Bool { !slow.contains(host) || slowLookups.count < maxSlowLookups }

        mutating func begin(_ host: String) {
            if slow.contains(host) { slowLookups.insert(host) }
        }

        /// The next name for a thread.
        mutating func beginNext() -> String? {
            guard let index = waiting.firstIndex(where: { mayBegin($0) }) else { return nil }
            let host = waiting.remove(at: index)
            begin(host)
            return host
        }

        /// A thread has done with a name.
        /// - Parameter wasSlow: whether its lookup took long; `nil` if it was not made.
        /// - Returns: the polls that wait for it.
        mutating func end(_ host: String, wasSlow: Bool?) -> [EventLoopPromise<Addresses>] {
            slowLookups.remove(host)
            switch wasSlow {
            case true?:
                // Redirects may lead to any number of names.
                if slow.count >= 10_000 { slow = [] }
                slow.insert(host)
            case false?: slow.remove(host)
            case nil: break
            }
            return lookups.removeValue(forKey: host)?.promises ?? []
        }
    }

    private let state: Mutex<State>
    private let maxLookups: Int
    private let slowAfter: TimeAmount
    private let lookup: @Sendable (String) -> Result<Addresses, LookupError>

    /// - Parameters:
    ///   - slowAfter: the names whose last lookup took longer have three quarters of the threads at most.
    ///   - lookup: the blocking call. Tests replace it.
    init(
        maxLookups: Int = HostResolver.maxLookups, slowAfter: TimeAmount = HostResolver.slowAfter,
        lookup: @escaping @Sendable (String) -> Result<Addresses, LookupError> = HostResolver.getAddresses
    ) {
        state = Mutex(State(maxSlowLookups: max(1, maxLookups * 3 / 4)))
        self.maxLookups = maxLookups
        self.slowAfter = slowAfter
        self.lookup = lookup
    }

    deinit { end() }

    /// The addresses of `host`; a lookup that already runs is shared.
    /// - Parameter deadline: a lookup that has not begun by then is not made.
    func resolve(_ host: String, on eventLoop: any EventLoop, until deadline: NIODeadline) -> EventLoopFuture<Addresses> {
        let promise = eventLoop.makePromise(of: Addresses.self)
        enum Step { case wait, begin(ThreadPool), refuse(reason: String) }
        let step = state.withLock { state -> Step in
            guard !state.isEnded else { return .refuse(reason: Self.stopping) }
            if var lookup = state.lookups[host] {
                lookup.promises.append(promise)
                lookup.deadline = max(lookup.deadline, deadline)
                state.lookups[host] = lookup
                return .wait
            }
            let lookup = Lookup(promises: [promise], deadline: deadline)
            let mayBegin = state.mayBegin(host)
            if mayBegin, let idle = state.idle.popLast() {
                state.lookups[host] = lookup
                state.begin(host)
                return .begin(idle)
            }
            if mayBegin, state.threads.count < maxLookups {
                do throws(ThreadError) {
                    let thread = ThreadPool("names")
                    try thread.start()
                    state.threads.append(thread)
                    state.lookups[host] = lookup
                    state.begin(host)
                    return .begin(thread)
                } catch {
                    if state.threads.isEmpty { return .refuse(reason: "\(error)") }
                }
            }
            state.lookups[host] = lookup
            state.waiting.append(host)
            return .wait
        }
        switch step {
        case .wait: break
        case .begin(let thread): thread.submit { [self] isActive in run(host, on: thread, isCancelled: !isActive) }
        case .refuse(let reason): promise.fail(LookupError(reason: reason))
        }
        return promise.futureResult
    }

    /// Fails all waiting polls. Lookups that run are not waited for.
    func end() {
        let (lookups, threads) = state.withLock { state in
            state.isEnded = true
            defer {
                state.lookups = [:]
                state.waiting = []
                state.threads = []
            }
            return (state.lookups.values, state.threads)
        }
        for promise in lookups.flatMap(\.promises) { promise.fail(LookupError(reason: Self.stopping)) }
        for thread in threads { thread.end() }
    }

    /// Looks up names on this thread, as long as some wait for one.
    private func run(_ first: String, on thread: ThreadPool, isCancelled: Bool) {
        var next: String? = first
        while let host = next {
            let isAwaited = state.withLock { ($0.lookups[host]?.deadline ?? .distantPast) > .now() }
            let isMade = isAwaited && !isCancelled
            let began = NIODeadline.now()
            let result: Result<Addresses, LookupError> =
                isMade ? lookup(host) : .failure(LookupError(reason: "too many names are being looked up"))
            let wasSlow: Bool? = isMade ? NIODeadline.now() - began > slowAfter : nil
            let promises = state.withLock { state in
                let promises = state.end(host, wasSlow: wasSlow)
                next = state.beginNext()
                if next == nil { state.idle.append(thread) }
                return promises
            }
            for promise in promises { promise.completeWith(result.mapError { $0 as any Error }) }
        }
    }

    /// Threads that were made.
    var threads: Int { state.withLock { $0.threads.count } }

    /// getaddrinfo(3).
    static let getAddresses: @Sendable (String) -> Result<Addresses, LookupError> = { host in
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_family = AF_UNSPEC
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, nil, &hints, &list)
        guard result == 0 else {
            return .failure(LookupError(reason: SystemError.text(ofLookup: result)))
        }
        defer { freeaddrinfo(list) }

        var addresses = Addresses()
        var next = list
        while let entry = next?.pointee {
            next = entry.ai_next
            guard let address = UnsafeRawPointer(entry.ai_addr) else { continue }
            switch entry.ai_family {
            case AF_INET: addresses.v4.append(SocketAddress(address.loadUnaligned(as: sockaddr_in.self), host: host))
            case AF_INET6: addresses.v6.append(SocketAddress(address.loadUnaligned(as: sockaddr_in6.self), host: host))
            default: continue
            }
        }
        guard !addresses.v4.isEmpty || !addresses.v6.isEmpty else { return .failure(LookupError(reason: "no address")) }
        return .success(addresses)
    }
}

/// Addresses already looked up, for NIO's connection attempts (RFC 8305).
struct ResolvedAddresses: Resolver, Sendable {
    let addresses: HostResolver.Addresses
    let eventLoop: any EventLoop

    func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        eventLoop.makeSucceededFuture(addresses.v4.map { $0.withPort(port) })
    }

    func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        eventLoop.makeSucceededFuture(addresses.v6.map { $0.withPort(port) })
    }

    func cancelQueries() {}
}

extension SocketAddress {
    /// The same address with another port.
    func withPort(_ port: Int) -> SocketAddress {
        var copy = self
        copy.port = port
        return copy
    }
}
