import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// Looks up host names on threads of its own, one for each name at a time: NIO's resolver has one queue for each event loop,
/// where a name server that does not answer would hold up every other target's lookup.
final class HostResolver: Sendable {
    /// A name's addresses, in the order of preference that the system gives (RFC 6724); their port is 0.
    struct Addresses: Sendable {
        var v4: [SocketAddress] = []
        var v6: [SocketAddress] = []
    }

    /// Why a name has no addresses, in the system's words.
    struct LookupError: Error {
        let reason: String
    }

    /// Lookups that run at once; more wait for one to end.
    static let maxThreads = 128

    private struct State {
        /// Who waits for a name, running or queued.
        var waiting: [String: [EventLoopPromise<Addresses>]] = [:]
        /// Names whose lookup has not begun.
        var queue: [String] = []
        var threads = 0
    }

    private let state = Mutex(State())
    private let lookup: @Sendable (String) -> Result<Addresses, LookupError>

    /// - Parameter lookup: what blocks; tests hand in their own.
    init(lookup: @escaping @Sendable (String) -> Result<Addresses, LookupError> = HostResolver.getAddresses) {
        self.lookup = lookup
    }

    /// The addresses of `host`; a lookup that already runs is shared.
    func resolve(_ host: String, on eventLoop: any EventLoop) -> EventLoopFuture<Addresses> {
        let promise = eventLoop.makePromise(of: Addresses.self)
        let startsThread = state.withLock { state in
            if state.waiting[host] != nil {
                state.waiting[host]?.append(promise)
                return false
            }
            state.waiting[host] = [promise]
            state.queue.append(host)
            guard state.threads < HostResolver.maxThreads else { return false }
            state.threads += 1
            return true
        }
        if startsThread { startThread() }
        return promise.futureResult
    }

    private func startThread() {
        let resolver = Unmanaged.passRetained(self)
        let result = withUnsafeTemporaryAllocation(of: pthread_attr_t.self, capacity: 1) { memory -> Int32 in
            guard let attributes = memory.baseAddress else { return ENOMEM }
            pthread_attr_init(attributes)
            defer { pthread_attr_destroy(attributes) }
            pthread_attr_setdetachstate(attributes, Int32(PTHREAD_CREATE_DETACHED))
            // The default of 8 MiB counts as address space for each waiting name.
            pthread_attr_setstacksize(attributes, 256 << 10)
            var thread = pthread_t()
            return pthread_create(
                &thread, attributes,
                { argument in
                    guard let argument else { return nil }
                    Unmanaged<HostResolver>.fromOpaque(argument).takeRetainedValue().work()
                    return nil
                }, resolver.toOpaque())
        }
        guard result != 0 else { return }
        resolver.release()
        failQueue(LookupError(reason: "no thread for the lookup: \(SystemError.words(result))"))
    }

    /// Runs on a thread of its own until no name waits.
    private func work() {
        while let host = nextHost() {
            let result = lookup(host)
            let promises = state.withLock { $0.waiting.removeValue(forKey: host) ?? [] }
            for promise in promises {
                switch result {
                case .success(let addresses): promise.succeed(addresses)
                case .failure(let error): promise.fail(error)
                }
            }
        }
    }

    private func nextHost() -> String? {
        state.withLock { state in
            guard !state.queue.isEmpty else {
                state.threads -= 1
                return nil
            }
            return state.queue.removeFirst()
        }
    }

    /// Without a thread nobody would ever answer those who wait, unless other threads still run.
    private func failQueue(_ error: LookupError) {
        let promises = state.withLock { state in
            state.threads -= 1
            guard state.threads == 0 else { return [] as [EventLoopPromise<Addresses>] }
            let hosts = state.queue
            state.queue = []
            return hosts.flatMap { state.waiting.removeValue(forKey: $0) ?? [] }
        }
        for promise in promises { promise.fail(error) }
    }

    /// getaddrinfo(3).
    static let getAddresses: @Sendable (String) -> Result<Addresses, LookupError> = { host in
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_family = AF_UNSPEC
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, nil, &hints, &list)
        guard result == 0 else {
            let reason = result == EAI_SYSTEM ? SystemError.words(errno) : String(cString: gai_strerror(result)).loweringFirst
            return .failure(LookupError(reason: reason))
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
    fileprivate func withPort(_ port: Int) -> SocketAddress {
        var copy = self
        copy.port = port
        return copy
    }
}

/// The system's words for its error codes.
enum SystemError {
    /// strerror(3) beginning in lower case: `no such file or directory`.
    static func words(_ code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
        return buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0).loweringFirst } ?? "" }
    }
}

extension String {
    fileprivate var loweringFirst: String { prefix(1).lowercased() + dropFirst() }
}
