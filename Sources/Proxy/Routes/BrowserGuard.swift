public import HTTP
public import NIOCore
import Synchronization

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
            allowed.isEmpty || host.map { allowed.contains(HostAndPort($0).host) } == true
        }
    }

    /// Whether a browser reports that a page of another site or origin caused the request.
    static func isForeign(_ request: Request) -> Bool {
        if let site = request.fetchSite?.lowercased(), site != "same-origin", site != "none" { return true }
        guard let origin = request.origin else { return false }
        let scheme = request.isTLS ? "https://" : "http://"
        guard let host = request.host, origin.lowercased().hasPrefix(scheme) else { return true }
        let defaultPort = request.isTLS ? "443" : "80"
        let (theirs, own) = (HostAndPort(String(origin.dropFirst(scheme.count))), HostAndPort(host))
        return theirs.host != own.host || (theirs.port ?? defaultPort) != (own.port ?? defaultPort)
    }
}

/// The parts of `host`, `host:port`, `[v6]` or `[v6]:port`. They are not checked, because an invalid host equals no allowed one.
private struct HostAndPort {
    /// In lower case, without brackets and without the dot at the end of a full name; an address as `NumericAddress` writes it.
    let host: String
    let port: String?

    init(_ text: String) {
        let text = text.lowercased()
        var name: Substring
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            name = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            port = rest.hasPrefix(":") ? String(rest.dropFirst()) : nil
        } else if let colon = text.lastIndex(of: ":") {
            name = text[..<colon]
            port = String(text[text.index(after: colon)...])
        } else {
            name = text[...]
            port = nil
        }
        if name.hasSuffix(".") { name = name.dropLast() }
        host = NumericAddress(String(name))?.description ?? String(name)
    }
}
