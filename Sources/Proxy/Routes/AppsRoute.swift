import Exposition
import HTTP
import NIOCore

/// The formats of answers about apps.
enum AppFormat: String {
    case text, json, html

    /// `?format=` wins over `Accept`, which browsers set by themselves.
    /// - Parameter offered: the first one is for a client that accepts none of them.
    /// - Returns: `nil` for a `?format=` that is not offered.
    init?(of request: Request, offering offered: [AppFormat]) {
        if let named = request.query.first(where: { $0.name == "format" }) {
            guard let format = AppFormat(rawValue: named.value), offered.contains(format) else { return nil }
            self = format
        } else {
            let types = offered.map { (type: $0.mediaType, form: $0) }
            guard let format = ContentNegotiation.preferred(of: types, accept: request.accept) else { return nil }
            self = format
        }
    }

    private var mediaType: String {
        switch self {
        case .text: "text/plain"
        case .json: "application/json"
        case .html: "text/html"
        }
    }

    /// The header fields of an answer in this format.
    var headers: [(name: String, value: String)] {
        let type = self == .json ? mediaType : "\(mediaType); charset=utf-8"
        return [("Content-Type", type), ("X-Content-Type-Options", "nosniff"), ("Vary", "Accept"), Response.neverStored]
    }
}

/// `/apps`: the apps, their sources, last updates and errors; as a text table, as JSON, or as a page for browsers.
struct AppsRoute: Route {
    let path = RoutePath.apps
    let summary = "the apps, their last updates and sources; a page for browsers, ?format=json for programs"

    let lists: AppLists
    let lifecycle: any Lifecycle
    let checker: MetricsChecker?
    let clock: @Sendable () -> Moment

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard let format = AppFormat(of: request, offering: [.text, .json, .html]) else {
            return .now(.text(400, "unknown format: it is text, json or html", headers: [Response.neverStored]))
        }
        let now = clock()
        let (status, isReady) = (lifecycle.status, lifecycle.isReady)
        switch format {
        case .text:
            let title = AppsTable.title(at: now.time)
            return lists.answer(request, with: .text(titleColumns: title.columns), at: now, on: eventLoop) { list in
                Response(status: 200, headers: format.headers, body: AppsTable.document(list, title: title))
            }
        case .json:
            return lists.answer(request, with: .json, at: now, on: eventLoop) { list in
                Response(
                    status: 200, headers: format.headers,
                    body: AppsJSON.document(list, status: status, isReady: isReady, at: now.time))
            }
        case .html:
            guard let view = AppsView(query: request.query) else {
                return .now(.text(400, AppsView.tooLong, headers: [Response.neverStored]))
            }
            let page = AppsPage(
                status: status, isReady: isReady, collisions: checker?.collisions, hasAppLabel: checker?.hasAppLabel ?? false, view: view,
                now: now)
            return lists.answer(request, at: now, on: eventLoop) { entries in
                Response(status: 200, headers: format.headers + [AppsPage.policy], body: SharedPieces(page.html(of: entries)))
            }
        }
    }
}

/// `/apps/NAME`: GET describes one app; DELETE removes an app and its metrics: 204, 404 for an unknown name, 403 unless
/// `enable_lifecycle` is set.
struct AppRoute: Route {
    let path = RoutePath.app
    let summary = "one app, ?format=json for programs; DELETE: forget it, when enable_lifecycle is set"
    let methods: [Request.Method] = [.get, .head, .delete]

    let store: MetricStore
    let lifecycle: any Lifecycle
    let clock: @Sendable () -> Moment

    /// Also for an app that does not exist: a client that pushes to the scrape port learns that this is no place to push.
    func serves(_ request: Request) -> Bool { Self.name(in: request.path) != nil }

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        .now(request.method == .delete ? delete(request) : show(request))
    }

    private func show(_ request: Request) -> Response {
        guard let format = AppFormat(of: request, offering: [.text, .json]) else {
            return .text(400, "unknown format: it is text or json", headers: [Response.neverStored])
        }
        guard let name = Self.name(in: request.path), let entry = store.apps(named: [name], at: clock()).first else { return Self.unknown }
        let body = format == .json ? AppDetails.json(of: entry) : AppDetails.text(of: entry)
        return Response(status: 200, headers: format.headers, body: [body], contentLength: body.readableBytes)
    }

    /// A client that may not delete does not learn which names exist.
    private func delete(_ request: Request) -> Response {
        guard lifecycle.isEnabled else { return .lifecycleDisabled }
        guard let name = Self.name(in: request.path), store.remove(name) else { return Self.unknown }
        lifecycle.log(RequestedChange(request, status: 204))
        return Response(status: 204, body: [], contentLength: 0)
    }

    /// The rest of the path with its slashes; it is already decoded.
    static func name(in path: String) -> AppName? {
        path.after(RoutePath.appPrefix).flatMap { AppName(String($0)) }
    }

    private static let unknown = Response.text(404, "no app of this name; /apps lists them", headers: [Response.neverStored])
}

/// The answer of `/apps/NAME`.
enum AppDetails {
    static func json(of entry: AppEntry) -> ByteBuffer {
        var json = JSONWriter()
        json.raw("{")
        AppsJSON.write(entry, to: &json)
        json.raw(", \"sender\": ")
        json.string(sender(of: entry))
        json.raw(", \"samples\": ")
        json.number(entry.check?.samples)
        json.raw(", \"families\": ")
        json.number(entry.check?.families)
        json.raw(", \"problems\": [")
        for (index, finding) in (entry.check?.findings ?? []).enumerated() {
            json.raw(index == 0 ? "\n{\"line\": " : ",\n{\"line\": ")
            json.number(finding.line)
            json.raw(", \"column\": ")
            json.number(finding.column)
            json.raw(", \"message\": ")
            json.string(finding.message)
            json.raw(", \"severity\": ")
            json.string(finding.severity.rawValue)
            json.raw("}")
        }
        json.raw("], \"problem_count\": ")
        json.number(entry.check?.findingCount ?? 0)
        json.raw("}\n")
        return json.buffer
    }

    static func text(of entry: AppEntry) -> ByteBuffer {
        var lines: [(String, String)] = [
            ("name", entry.name.description), ("source", entry.source.description),
            ("last update", entry.lastUpdate?.time.tableText ?? "never"), ("bytes", String(entry.exposition.size)),
            ("state", entry.condition.rawValue),
        ]
        if let error = entry.error { lines.append(("error", error)) }
        if let sender = sender(of: entry) { lines.append(("sender", sender)) }
        if let check = entry.check {
            lines += [("samples", String(check.samples)), ("families", String(check.families)), ("problems", String(check.findingCount))]
            lines += check.findings.map { ("\($0.severity.rawValue)", "line \($0.line), column \($0.column): \($0.message)") }
        }
        var text = ByteBuffer()
        for (name, value) in lines {
            text.writeString("\(name):\(String(repeating: " ", count: max(1, 12 - name.utf8.count)))\(PrintableText(value).text)\n")
        }
        return text
    }

    /// The peer that pushed the app; `nil` for a polled one.
    private static func sender(of entry: AppEntry) -> String? { entry.sender?.description }
}
