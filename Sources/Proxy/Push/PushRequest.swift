import HTTP
import NIOCore
import Pushgateway

/// What a request to the HTTP receiver asks for, as far as its head says it.
public struct PushRequest: Sendable {
    /// What becomes of the body.
    enum Action: Sendable {
        /// It replaces the metrics of an app.
        case put(AppName)
        /// It is the JSON of the other receivers.
        case apply
        case delete(AppName)
        /// It replaces a group, or is merged with it.
        case pushGroup(GroupingKey, AppName, replacing: Bool, isProtobuf: Bool)
        case deleteGroup(AppName)
        /// There is nothing to change: `/`, `/-/healthy`, `/-/ready`.
        case show(Page)

        /// Whether the body is looked at. If not, its coding does not matter either.
        var readsBody: Bool {
            switch self {
            case .put, .apply, .pushGroup: true
            case .delete, .deleteGroup, .show: false
            }
        }
    }

    /// A page that says something of the receiver.
    enum Page: Sendable {
        case landing, healthy, ready
    }

    let action: Action
    /// The path, percent-decoded.
    let path: String
    /// How the body is coded.
    public let coding: BodyBytes.Coding

    /// The app that is changed, where the path names one.
    public var app: AppName? {
        switch action {
        case .put(let app), .delete(let app), .deleteGroup(let app), .pushGroup(_, let app, _, _): app
        case .apply, .show: nil
        }
    }

    /// What the body is, for the metrics; `nil` where it is not looked at.
    public var format: ListenerMetrics.Format? {
        switch action {
        case .put: .text
        case .apply: .json
        case .pushGroup(_, _, _, let isProtobuf): isProtobuf ? .protobuf : .text
        case .delete, .deleteGroup, .show: nil
        }
    }

    /// The largest body, in bytes, that is decoded on an event loop: a millisecond or two.
    public var mostOnEventLoop: Int {
        if case .pushGroup = action { UndecodedPush.inlineLimit / 4 } else { UndecodedPush.inlineLimit }
    }

    /// The most memory, in bytes, that decoding takes beside the body: the text of a body that comes in pieces or compressed, and what is made
    /// of it.
    func decodingCost(of body: BodyBytes) -> Int {
        let size = body.mostUncompressed
        return switch action {
        case .pushGroup: 2 * size + FamilyCost.memory * mostText(of: body)
        // A value may have two bytes, and takes 16 in the parser's index and 16 as it is parsed.
        case .apply: 16 * size
        case .put: 2 * size
        case .delete, .deleteGroup, .show: 0
        }
    }

    /// The most bytes of metrics, without `app_label`, that the body makes of the app that the path names.
    func mostText(of body: BodyBytes) -> Int {
        switch action {
        // A sample that counts as 27 bytes may have two in protobuf.
        case .pushGroup: min(16 * body.mostUncompressed, PushGroups.limit(within: body))
        case .put: body.mostUncompressed
        case .apply, .delete, .deleteGroup, .show: 0
        }
    }

    init(_ request: Request, contentType: String?, contentEncoding: String?) throws(Rejection) {
        let action = try Self.action(of: request, MediaType(contentType))
        self.action = action
        path = request.path
        coding = action.readsBody ? try Self.coding(contentEncoding) : .identity
    }

    /// The beginning of the paths of groups.
    private static let groups = "/metrics/"
    /// The beginning of the path of an app.
    private static let apps = "/apps/"

    private static func action(of request: Request, _ type: MediaType?) throws(Rejection) -> Action {
        let (path, method) = (request.path, request.method)
        switch path {
        case "/": return .show(try page(.landing, method))
        case "/-/healthy": return .show(try page(.healthy, method))
        case "/-/ready": return .show(try page(.ready, method))
        case "/apps":
            guard method == .post else { throw .methodNotAllowed(allowed: "POST") }
            try refuse(type, [.openMetrics, .protobuf], taken: "JSON")
            return .apply
        default: break
        }
        if let rest = path.after(apps) {
            guard method == .put || method == .delete else { throw .methodNotAllowed(allowed: "PUT, DELETE") }
            let text = String(rest)
            guard let name = AppName(text) else { throw .invalidAppName(text) }
            if method == .delete { return .delete(name) }
            try refuse(type, [.openMetrics, .protobuf, .json], taken: "text format 0.0.4")
            return .put(name)
        }
        guard let rest = path.after(groups), isGroup(rest) else { throw .unknownPath }
        guard [.put, .post, .delete].contains(method) else { throw .methodNotAllowed(allowed: "PUT, POST, DELETE") }
        return try group(rest, method, type)
    }

    private static func isGroup(_ path: Substring) -> Bool {
        let first = path.parts(at: "/", most: 2)[0]
        return first == "job" || first == "job@base64"
    }

    private static func group(_ path: Substring, _ method: Request.Method, _ type: MediaType?) throws(Rejection) -> Action {
        let key: GroupingKey
        do throws(GroupingKey.Fault) {
            key = try GroupingKey(path: path)
        } catch {
            throw .invalidGroup(error.description)
        }
        guard let name = AppName(key.name) else { throw .invalidAppName(key.name) }
        if method == .delete { return .deleteGroup(name) }
        let isProtobuf = type?.isDelimitedFamilies ?? false
        if !isProtobuf {
            try refuse(type, [.openMetrics, .protobuf, .json], taken: "text format 0.0.4, or protobuf in delimited encoding")
        }
        return .pushGroup(key, name, replacing: method == .put, isProtobuf: isProtobuf)
    }

    private static func page(_ page: Page, _ method: Request.Method) throws(Rejection) -> Page {
        guard method == .get || method == .head else { throw .methodNotAllowed(allowed: "GET, HEAD") }
        return page
    }

    private static func refuse(_ type: MediaType?, _ formats: [MediaType.Format], taken: String) throws(Rejection) {
        guard let type, let format = type.format, formats.contains(format) else { return }
        throw .unsupportedType(type.text, taken: taken)
    }

    private static func coding(_ field: String?) throws(Rejection) -> BodyBytes.Coding {
        // Names of codings are case-insensitive, and x-gzip is gzip (RFC 9110 §8.4.1).
        switch field?.lowercased() {
        case nil, "", "identity": return .identity
        case "gzip", "x-gzip": return .gzip
        default: throw .unsupportedEncoding(field ?? "")
        }
    }
}

/// The JSON of a whole request: objects one after another, applied together.
struct JSONBody {
    private let bytes: ByteBuffer

    init(_ bytes: ByteBuffer) { self.bytes = bytes }

    /// - Parameter waits: whether it may take long.
    /// - Returns: the apps of all objects; of a repeated name the last one; `nil` when decoding would take too long.
    func decode(maxApps: Int, waits: Bool) throws(Rejection) -> Push? {
        guard let first = bytes.readableBytesView.first(where: { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }) else {
            throw .malformedJSON("the body is empty: send an object of app names and metrics")
        }
        guard first == UInt8(ascii: "{") else {
            throw .malformedJSON(
                "found \(UnexpectedBeginning.shown(first)) where an object should begin: metrics as text are sent with PUT /apps/NAME")
        }
        var decoder = JSONPushDecoder(maxMessageSize: ByteCount(Int(Int32.max)))
        decoder.feed(bytes)
        var joined = JoinedPushes()
        while let message = try decoder.next() {
            let push: Push
            switch message {
            case .push(let small): push = small
            case .undecoded(let message):
                guard waits else { return nil }
                push = try message.decode(maxApps: maxApps)
            }
            try joined.add(push, maxApps: maxApps)
            guard waits || joined.count <= Self.mostOnEventLoop else { return nil }
        }
        do throws(Rejection) {
            try decoder.finish()
        } catch {
            throw error == .truncated ? .malformedJSON("the body ends within an object") : error
        }
        return joined.push
    }

    /// The most objects and apps that are decoded on an event loop.
    private static let mostOnEventLoop = 1000
}

/// The apps of several objects. Of a repeated name the last one counts.
private struct JoinedPushes {
    private(set) var push = Push(apps: [])
    /// The index of each app in `push`; set from the second object on.
    private var places: [AppName: Int] = [:]
    /// The number of objects and apps that were added.
    private(set) var count = 0

    mutating func add(_ more: Push, maxApps: Int) throws(Rejection) {
        count += 1 + more.apps.count
        guard !more.apps.isEmpty else { return }
        guard !push.apps.isEmpty else {
            push = more
            return
        }
        if places.isEmpty {
            for (place, app) in push.apps.enumerated() { places[app.name] = place }
        }
        for app in more.apps {
            if let place = places[app.name] {
                push.apps[place] = app
            } else {
                guard push.apps.count < maxApps else { throw .tooManyApps(limit: maxApps) }
                places[app.name] = push.apps.count
                push.apps.append(app)
            }
        }
    }
}
