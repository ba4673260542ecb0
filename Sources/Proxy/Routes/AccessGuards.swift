public import HTTP
public import NIOCore
import Synchronization

/// Requires a user's name and password (`basic_auth_users`) for all routes except the health checks.
public final class BasicAuth: Responder {
    private let routes: any Responder
    private let users: BasicAuthUsers

    /// - Parameters:
    ///   - users: the users that are admitted.
    ///   - routes: where admitted requests go.
    public init(_ users: BasicAuthUsers, routes: any Responder) {
        self.users = users
        self.routes = routes
    }

    /// - Parameters:
    ///   - users: each name with the hash of its password; without any, every request is admitted.
    ///   - routes: where admitted requests go.
    public convenience init(users: [String: BcryptHash], checker: any PasswordChecker, routes: any Responder) {
        self.init(BasicAuthUsers(users, checker: checker), routes: routes)
    }

    /// Admits these users from the next request on. A user that keeps its password is not checked again.
    public func setUsers(_ users: [String: BcryptHash]) { self.users.set(users) }

    /// Answers 401 without the right password.
    public func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard !Self.isOpen(request.path) else { return routes.respond(to: request, on: eventLoop) }
        switch users.judge(request.authorization, on: eventLoop) {
        case .admitted: return routes.respond(to: request, on: eventLoop)
        case .refused: return .now(Self.unauthorized)
        case .busy: return .now(Self.busy)
        case .later(let verdict):
            return .later(
                verdict.flatMap { [routes] isAdmitted in
                    guard isAdmitted else { return eventLoop.makeSucceededFuture(Self.unauthorized) }
                    return routes.respond(to: request, on: eventLoop).future(on: eventLoop)
                })
        }
    }

    /// Health checks come from machines that have no password.
    static func isOpen(_ path: String) -> Bool {
        path == "/-/healthy" || path == "/-/ready"
    }

    /// The header fields of every 401.
    static let challenge = [("WWW-Authenticate", "Basic realm=\"exporter-proxy\", charset=\"UTF-8\""), Response.neverStored]
    /// Why a request gets 503, and the header fields of the answer.
    static let busyWords = "too many passwords wait to be checked; try again"
    static let busyFields = [("Retry-After", "1"), Response.neverStored]
    private static let unauthorized = Response.text(401, "unauthorized", headers: challenge)
    private static let busy = Response.text(503, busyWords, headers: busyFields)
}

/// The users of one `basic_auth_users`, and their known passwords.
///
/// A keyed hash recognises a password that was right before, at almost no cost. A separate thread checks all others one after another.
/// Only a few may wait, so that a flood of wrong passwords takes neither memory nor time from known clients. An unknown name is checked
/// like any other, so that it takes the same time.
public final class BasicAuthUsers: Sendable {
    /// Passwords that may wait to be checked.
    static let maxPending = 32

    /// The result for a request's name and password.
    enum Judgement {
        /// - Parameter user: the name; `nil` when there are no users, so that every request is admitted.
        case admitted(user: String?)
        case refused
        /// Too many passwords wait.
        case busy
        /// Whether the user is admitted.
        case later(EventLoopFuture<Bool>)
    }

    private struct State {
        var users: [String: BcryptHash]
        /// The hash of name and password of each user that has been admitted.
        var admitted: [String: KeyedHash.Tag] = [:]
        /// The requests that wait for each check.
        var pending: [Check: [EventLoopPromise<Bool>]] = [:]
    }

    /// What a request asks. After a reload, requests with the same credentials ask about another hash.
    private struct Check: Hashable {
        let tag: KeyedHash.Tag
        let hash: BcryptHash?
    }

    private let checker: any PasswordChecker
    private let hash = KeyedHash()
    /// Guards the users in force and the known passwords.
    private let state: Mutex<State>

    /// - Parameter users: each name with the hash of its password; without any, every request is admitted.
    public init(_ users: [String: BcryptHash], checker: any PasswordChecker) {
        self.checker = checker
        state = Mutex(State(users: users))
    }

    /// Admits these users from the next request on. A user that keeps its password is not checked again.
    public func set(_ users: [String: BcryptHash]) {
        state.withLock { state in
            state.admitted = state.admitted.filter { name, _ in users[name] != nil && users[name] == state.users[name] }
            state.users = users
        }
    }

    /// The name in a request, known or not.
    static func name(in authorization: String?) -> String? { BasicCredentials(authorization)?.name }

    func judge(_ authorization: String?, on eventLoop: any EventLoop) -> Judgement {
        enum Next {
            case done(Judgement)
            case check(BasicCredentials, Check, users: [String: BcryptHash], EventLoopFuture<Bool>)
        }
        let next: Next = state.withLock { state in
            guard !state.users.isEmpty else { return .done(.admitted(user: nil)) }
            guard let credentials = BasicCredentials(authorization) else { return .done(.refused) }
            let tag = hash.tag(Array(credentials.name.utf8) + [0] + credentials.password)
            if state.admitted[credentials.name] == tag { return .done(.admitted(user: credentials.name)) }
            let check = Check(tag: tag, hash: state.users[credentials.name])
            let isAsked = state.pending[check] != nil
            guard isAsked || state.pending.count < Self.maxPending else { return .done(.busy) }
            let promise = eventLoop.makePromise(of: Bool.self)
            // Requests with the same credentials share one check.
            state.pending[check, default: []].append(promise)
            return isAsked ? .done(.later(promise.futureResult)) : .check(credentials, check, users: state.users, promise.futureResult)
        }
        switch next {
        case .done(let judgement): return judgement
        case .check(let credentials, let check, let users, let verdict):
            // Outside the lock: the checker may answer at once.
            perform(check, of: credentials, among: users, on: eventLoop)
            return .later(verdict)
        }
    }

    private func perform(
        _ check: Check, of credentials: BasicCredentials, among users: [String: BcryptHash], on eventLoop: any EventLoop
    ) {
        guard let hash = check.hash ?? standIn(for: credentials.name, among: users) else { return }
        checker.check(credentials.password, against: hash, on: eventLoop).whenComplete { [self] result in
            let isRight = (try? result.get()) == true && check.hash != nil
            let waiting = state.withLock { state in
                // In the meantime the user may have been removed or have another password.
                let isAdmitted = isRight && state.users[credentials.name] == check.hash
                if isAdmitted { state.admitted[credentials.name] = check.tag }
                return (state.pending.removeValue(forKey: check) ?? []).map { ($0, isAdmitted) }
            }
            for (promise, isAdmitted) in waiting { promise.succeed(isAdmitted) }
        }
    }

    /// The hash to check for an unknown name. It is always the same for one name, and as costly as the users' hashes.
    private func standIn(for name: String, among users: [String: BcryptHash]) -> BcryptHash? {
        let hashes = users.values.sorted { $0.text < $1.text }
        guard !hashes.isEmpty else { return nil }
        return hashes[Int(hash.tag(Array(name.utf8)).low % UInt64(hashes.count))]
    }
}

/// Name and password of `Authorization: Basic` (RFC 7617).
struct BasicCredentials: Sendable {
    let name: String
    let password: [UInt8]

    /// - Returns: `nil` for another scheme, and unless the value is base64 of `name:password` with a name in UTF-8.
    init?(_ authorization: String?) {
        guard let authorization else { return nil }
        let parts = authorization.utf8.split(separator: UInt8(ascii: " "), maxSplits: 1)
        guard parts.count == 2, String(Substring(parts[0])).lowercased() == "basic" else { return nil }
        let encoded = parts[1].drop { $0 == UInt8(ascii: " ") }
        guard let bytes = Base64.decode(encoded), let colon = bytes.firstIndex(of: UInt8(ascii: ":")),
            let name = String(validating: bytes[..<colon], as: UTF8.self)
        else { return nil }
        self.name = name
        password = Array(bytes[(colon + 1)...])
    }
}

/// Checks passwords on a thread of `Services` that does nothing else.
public protocol PasswordChecker: Sendable {
    /// Checks one password after another, in the order of the calls. The future belongs to `eventLoop` and never fails. After its shutdown
    /// the checker returns false.
    func check(_ password: [UInt8], against hash: BcryptHash, on eventLoop: any EventLoop) -> EventLoopFuture<Bool>
}

/// Refuses the requests that another site's page can make a browser send, before all routes and on every listener.
///
/// A page of another site can make a browser send a request that changes something. The page cannot read the answer, but the change is
/// made. Such a request gets 403. By DNS rebinding a page can also read answers: its own name then points to this address, so its requests
/// have that name in `Host`. With `allowed_hosts` they get 421.
public final class BrowserGuard: Responder {
    private let routes: any Responder
    /// Guards the names in force.
    private let allowedHosts: Mutex<Set<String>>

    /// - Parameters:
    ///   - allowedHosts: see `setAllowedHosts`.
    ///   - routes: where the other requests go.
    public init(allowedHosts: [String] = [], routes: any Responder) {
        self.allowedHosts = Mutex(Set(allowedHosts))
        self.routes = routes
    }

    /// From now on, answers only requests for these hosts; without any, for all hosts.
    /// - Parameter hosts: names in lower case and addresses as `NumericAddress` writes them, without ports and brackets.
    public func setAllowedHosts(_ hosts: [String]) { allowedHosts.withLock { $0 = Set(hosts) } }

    /// Answers 421 or 403 itself, and passes on all other requests.
    public func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard let refusal = refusal(of: request) else { return routes.respond(to: request, on: eventLoop) }
        return .now(.text(refusal.status, refusal.reason, headers: [Response.neverStored]))
    }

    /// Why a request is refused; `nil` when it is not.
    func refusal(of request: Request) -> (status: Int, reason: String)? {
        guard isAllowed(request.host) else { return (421, "misdirected request: its Host is not in allowed_hosts of [exporter]") }
        let isChange = [.post, .put, .delete].contains(request.method)
        return isChange && Self.isForeign(request) ? (403, "forbidden: a browser sent this for a page of another site") : nil
    }

    private func isAllowed(_ host: String?) -> Bool {
        allowedHosts.withLock { allowed in
            allowed.isEmpty || host.map { allowed.contains(Site($0).host) } == true
        }
    }

    /// Whether a browser reports that a page of another site or origin caused the request.
    static func isForeign(_ request: Request) -> Bool {
        if let site = request.fetchSite?.lowercased(), site != "same-origin", site != "none" { return true }
        guard let origin = request.origin else { return false }
        let scheme = request.isTLS ? "https://" : "http://"
        guard let host = request.host, origin.lowercased().hasPrefix(scheme) else { return true }
        let defaultPort = request.isTLS ? "443" : "80"
        let (theirs, own) = (Site(String(origin.dropFirst(scheme.count))), Site(host))
        return theirs.host != own.host || (theirs.port ?? defaultPort) != (own.port ?? defaultPort)
    }
}

/// Host and port of `Host` or `Origin`, to be compared. They are not checked, because an invalid host equals no allowed one.
private struct Site {
    /// In lower case, without brackets and without the dot at the end of a full name; an address as `NumericAddress` writes it.
    let host: String
    let port: String?

    init(_ text: String) {
        let text = text.lowercased()
        let parts = HostAndPort(text[...])
        port = parts?.port.map { String($0) }
        var name = parts?.host ?? text[...]
        if name.hasSuffix(".") { name = name.dropLast() }
        host = NumericAddress(String(name))?.description ?? String(name)
    }
}
