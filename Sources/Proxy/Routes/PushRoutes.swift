public import HTTP
public import NIOCore
import Pushgateway

/// The answers of the HTTP receivers: the core of each exchange, without a socket and without reading the body.
public struct PushRoutes: Sendable {
    /// What to do with a request after its head.
    public enum Beginning {
        /// Read the body. The request says what it contains.
        case body(PushRequest, Sender)
        /// Answer without reading the body.
        case answer(Response)
        /// A password is being checked. Call `begin` again with the result.
        case wait(EventLoopFuture<Bool>)
    }

    /// What is known of the user of a request.
    public enum User: Sendable {
        /// Nothing yet.
        case unchecked
        /// Its password was checked: it is right, or not.
        case checked(isAdmitted: Bool)
    }

    private let intake: Intake
    private let groups: PushGroups
    private let users: BasicAuthUsers
    private let browserGuard: BrowserGuard
    private let lifecycle: any Lifecycle

    /// - Parameters:
    ///   - users: who may push.
    ///   - browserGuard: what browsers may be made to send.
    ///   - lifecycle: says whether the program is ready, and logs what is deleted.
    public init(
        intake: Intake, groups: PushGroups, users: BasicAuthUsers, browserGuard: BrowserGuard, lifecycle: any Lifecycle
    ) {
        self.intake = intake
        self.groups = groups
        self.users = users
        self.browserGuard = browserGuard
        self.lifecycle = lifecycle
    }

    // MARK: - Heads

    /// Decides what to do with a request.
    /// - Parameters:
    ///   - sender: the sender for a user.
    ///   - refused: called with the reason when a push or a password is refused, and with the sender if that is known.
    public func begin(
        _ head: RequestHead, _ request: Request, user: User, on eventLoop: any EventLoop, sender: (String?) -> Sender,
        refused: (Rejection, Sender?) -> Void
    ) -> Beginning {
        // Browsers, scanners and probes send other methods: those push nothing.
        let isPush = [.put, .post, .delete].contains(request.method)
        if let refusal = browserGuard.refusal(of: request) {
            return self.refusal(.foreignRequest(status: refusal.status, refusal.reason), isReported: isPush, refused)
        }
        var name: String?
        if !BasicAuth.isOpen(request.path) {
            // Not judged again: that would begin another check.
            if case .checked(isAdmitted: false) = user { return refusal(.unauthorized, isReported: true, refused) }
            switch users.judge(request.authorization, on: eventLoop) {
            case .admitted(let user): name = user
            // If the password was checked already, the users have changed since then, and it is checked again.
            case .later(let verdict): return .wait(verdict)
            // Guesses are reported, whatever their method is.
            case .refused: return refusal(.unauthorized, isReported: isPush || request.authorization != nil, refused)
            case .busy: return refusal(.tooManyPasswords, isReported: true, refused)
            }
        }
        var known: Sender?
        do throws(Rejection) {
            let push = try PushRequest(request, contentType: head.contentType, contentEncoding: head.contentEncoding)
            if case .show(let page) = push.action { return .answer(show(page, request, on: eventLoop)) }
            let sender = sender(name)
            known = sender
            if let app = push.app { try intake.checkOwner(of: app, sender) }
            return .body(push, sender)
        } catch {
            return refusal(error, of: known, isReported: isPush, refused)
        }
    }

    private func refusal(
        _ rejection: Rejection, of sender: Sender? = nil, isReported: Bool, _ refused: (Rejection, Sender?) -> Void
    ) -> Beginning {
        if isReported { refused(rejection, sender) }
        return .answer(Self.answer(to: rejection))
    }

    private func show(_ page: PushRequest.Page, _ request: Request, on eventLoop: any EventLoop) -> Response {
        switch page {
        case .healthy: HealthyRoute.response
        case .ready: ReadyRoute(lifecycle: lifecycle).response
        case .landing: Self.landing(request)
        }
    }

    // MARK: - Bodies

    /// The result of a push.
    public enum Outcome: Sendable {
        /// The answer, and the reason if the push was refused.
        case answer(Response, Rejection?)
        /// It takes too long for an event loop: call `end` again on a pool.
        case takesLonger
    }

    /// The most memory, in bytes, that `end` takes beside the body.
    public func cost(of push: PushRequest, _ body: BodyBytes) -> Int {
        var cost = push.decodingCost(of: body)
        var text = push.mostText(of: body)
        if case .pushGroup(_, let app, _, _) = push.action, let stored = intake.store.app(named: app) {
            // The group is copied to be read, written anew, and joined.
            cost += 3 * (stored.exposition.size + (stored.group?.size ?? 0))
            text += stored.exposition.size
        }
        if let app = push.app { cost += intake.mostLabelled(text, of: app) }
        return cost
    }

    /// Decodes and applies a complete request.
    /// - Parameters:
    ///   - most: the largest body, in bytes, to decode here; `.max` on a pool, which may take longer and has reserved `cost`.
    ///   - source: the receiver.
    public func end(_ push: PushRequest, _ body: BodyBytes, from sender: Sender, through source: Source, most: Int) -> Outcome {
        do throws(Rejection) {
            var bytes: ByteBuffer? = ByteBuffer()
            if push.action.readsBody {
                do throws(BodyBytes.Fault) { bytes = try body.whole(most: most, isReserved: most == .max) } catch { throw Rejection(error) }
            }
            let groupLimit = PushGroups.limit(within: body)
            guard
                let bytes,
                let response = try apply(push, bytes, from: sender, through: source, groupLimit: groupLimit, waits: most == .max)
            else {
                return .takesLonger
            }
            return .answer(response, nil)
        } catch {
            return .answer(Self.answer(to: error), error)
        }
    }

    /// - Returns: `nil` when it takes too long for an event loop.
    private func apply(
        _ push: PushRequest, _ bytes: ByteBuffer, from sender: Sender, through source: Source, groupLimit: Int, waits: Bool
    ) throws(Rejection) -> Response? {
        switch push.action {
        case .put(let app):
            switch bytes.withUnsafeReadableBytes(\.textFault) {
            case .invalidUTF8: throw .invalidUTF8(app: app.description)
            case .nulByte: throw .nulByte(app: app.description)
            case nil: break
            }
            let message = Push(apps: [(app, Exposition(addingNewlineTo: bytes))])
            guard waits || !intake.isLong(message) else { return nil }
            try intake.apply(message, from: sender, through: source)
            return Self.noContent
        case .apply:
            guard let message = try JSONBody(bytes).decode(maxApps: intake.store.mostApps, waits: waits), waits || !intake.isLong(message)
            else { return nil }
            try intake.apply(message, from: sender, through: source)
            return Self.noContent
        case .pushGroup(let key, let app, let replacing, let isProtobuf):
            let limit = waits ? groupLimit : min(groupLimit, PushGroups.smallSize)
            let families: [MetricFamily]
            do throws(FamilyFault) {
                families = try Self.families(bytes, isProtobuf: isProtobuf, FamilyCost(limit: limit, key: key))
            } catch {
                if case .tooLarge = error, limit < groupLimit { return nil }
                throw Rejection(error)
            }
            let outcome = try groups.push(
                families, to: key, named: app, replacing: replacing, from: sender, through: source, limit: groupLimit, waits: waits)
            if case .takesLonger = outcome { return nil }
            return Response(status: 200, body: [], contentLength: 0)
        case .delete(let app):
            try intake.checkOwner(of: app, sender)
            guard intake.store.remove(app, onlyIfPushed: true) else { return Self.error(404, "no pushed app of this name") }
            lifecycle.log(RequestedChange(deleting: push.path, by: sender, status: 204))
            return Self.noContent
        case .deleteGroup(let app):
            try intake.checkOwner(of: app, sender)
            if intake.store.remove(app, onlyIfPushed: true) {
                lifecycle.log(RequestedChange(deleting: push.path, by: sender, status: 202))
            }
            return Response(status: 202, body: [], contentLength: 0)
        case .show: return Self.noContent
        }
    }

    private static func families(
        _ bytes: ByteBuffer, isProtobuf: Bool, _ cost: FamilyCost
    ) throws(FamilyFault) -> [MetricFamily] {
        let result = bytes.withUnsafeReadableBytes { bytes in
            Result { () throws(FamilyFault) in
                if isProtobuf { return try ProtobufFamilies.read(bytes, cost) }
                switch bytes.textFault {
                case .invalidUTF8: throw .malformed("text format parsing error: the body is not valid UTF-8")
                case .nulByte: throw .malformed("text format parsing error: the body holds a NUL byte")
                case nil: return try TextFamilies.read(bytes, cost)
                }
            }
        }
        return try result.get()
    }

    // MARK: - Answers

    private static let noContent = Response(status: 204, body: [], contentLength: 0)

    /// A refusal: its body is one line, `error: REASON`.
    public static func error(_ status: Int, _ reason: String, _ headers: [(name: String, value: String)] = []) -> Response {
        .text(status, "error: \(reason)", headers: headers)
    }

    /// The answer to a push that is refused.
    public static func answer(to rejection: Rejection) -> Response {
        let headers: [(name: String, value: String)] =
            switch rejection {
            case .unauthorized: BasicAuth.challenge
            case .tooManyPasswords: BasicAuth.busyFields
            case .foreignRequest: [Response.neverStored]
            case .methodNotAllowed(let allowed): [("Allow", allowed)]
            case .unsupportedEncoding: [("Accept-Encoding", "gzip")]
            default: []
            }
        return error(rejection.httpStatus, rejection.line, headers)
    }

    /// A short text with commands that work as they are printed.
    private static func landing(_ request: Request) -> Response {
        let host = request.host ?? "127.0.0.1:9091"
        let url = "\(request.isTLS ? "https" : "http")://\(host)"
        return .text(
            200,
            """
            This is the HTTP receiver of exporter-proxy: it takes metrics of applications.

            One app, Prometheus's text as it is:      echo 'demo_up 1' | curl -T - \(url)/apps/demo
            Several apps as JSON:                     curl -d '{"demo": "demo_up 1", "other": ["a 1", "b 2"]}' \(url)/apps
            An app is removed:                        curl -X DELETE \(url)/apps/demo
            As to a Pushgateway, replacing a group:   echo 'demo_up 1' | curl -T - \(url)/metrics/job/demo/instance/one
            … replacing families of the same names:   echo 'demo_up 1' | curl --data-binary @- \(url)/metrics/job/demo/instance/one
            … and removing the group:                 curl -X DELETE \(url)/metrics/job/demo/instance/one
            Client libraries push to a Pushgateway at this address: \(host)
            With users configured, curl needs -u NAME. 204, 200 and 202 mean that all is done; a refusal is one line, error: REASON.
            """)
    }
}

extension Rejection {
    /// Why a body cannot be used.
    public init(_ fault: BodyBytes.Fault) {
        switch fault {
        case .tooLarge(let limit): self = .messageTooLarge(limit: limit)
        case .tooMuchInFlight(let limit): self = .tooMuchInFlight(limit: limit)
        case .gzip(let error): self = .malformedGzip(error)
        }
    }
}
