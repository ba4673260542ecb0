import Exposition
import HTTP
import NIOCore

/// `/collisions`: series that are exposed more than once, as text or JSON; 404 when metrics are not checked.
struct CollisionsRoute: Route {
    let path = RoutePath.collisions
    let summary = "series that are exposed more than once, ?format=json for programs"

    let checker: MetricsChecker?

    var isOffered: Bool { checker.map { $0.validation != .off } ?? false }

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard let checker, isOffered else {
            return .now(.text(404, "metrics are not checked (validate = \"off\" in [metrics])", headers: [Response.neverStored]))
        }
        guard let format = AppFormat(of: request, offering: [.text, .json]) else {
            return .now(.text(400, "unknown format: it is text or json", headers: [Response.neverStored]))
        }
        let document = checker.document
        let body = format == .json ? document.json : document.text(hasAppLabel: checker.hasAppLabel)
        return .now(Response(status: 200, headers: format.headers, body: body))
    }
}

/// What a search for collisions has found, as text and as JSON. Both are written once, at the end of the search: series and names may be
/// long, and every client can ask for them.
struct CollisionsDocument: Sendable {
    /// `nil` before the first search has ended.
    let collisions: Collisions?
    /// The whole JSON. Answers share it.
    let json: SharedPieces
    /// The listed series as text. Answers share them.
    private let series: SharedPieces

    /// - Parameter collisions: `nil` before the first search has ended.
    init(of collisions: Collisions?) {
        self.collisions = collisions
        json = SharedPieces(Self.json(of: collisions))
        series = SharedPieces(Self.series(of: collisions?.listed ?? []))
    }

    /// The whole text.
    /// - Parameter hasAppLabel: whether `app_label` is set. A reload may change it between two searches.
    func text(hasAppLabel: Bool) -> SharedPieces {
        var text = SharedPieces(ByteBuffer(string: summary(hasAppLabel: hasAppLabel)))
        if series.size > 0 { text.append(series) }
        return text
    }

    private func summary(hasAppLabel: Bool) -> String {
        guard let collisions else { return "series have not been compared yet\n" }
        guard let count = collisions.count else { return "not counted: there are more than \(CollisionSearch.maxSeries) series\n" }
        guard count > 0 else { return "no series is exposed more than once\n" }
        let listed = collisions.listed.count
        return """
            \(count == 1 ? "1 series is" : "\(count) series are") exposed more than once; Prometheus keeps one sample of each.\
            \(collisions.remedy(hasAppLabel: hasAppLabel))
            \(listed < count ? "The first \(listed):\n" : "")
            """
    }

    private static func series(of listed: [Collisions.Series]) -> ByteBuffer {
        var text = ByteBuffer()
        for series in listed {
            text.writeString("\n\(PrintableText(series.text).text)\n    \(series.times) times, by: ")
            text.writeString(series.apps.map { PrintableText($0).text }.joined(separator: ", "))
            text.writeString(series.hasMoreApps ? ", …\n" : "\n")
        }
        return text
    }

    private static func json(of collisions: Collisions?) -> ByteBuffer {
        var json = JSONWriter()
        json.raw("{\"count\": ")
        json.number(collisions?.count)
        json.raw(", \"state\": ")
        json.string(collisions == nil ? "waiting" : collisions?.count == nil ? "too many series" : "ok")
        json.raw(", \"collisions\": [")
        for (index, series) in (collisions?.listed ?? []).enumerated() {
            json.raw(index == 0 ? "\n{\"series\": " : ",\n{\"series\": ")
            json.string(series.text)
            json.raw(", \"times\": ")
            json.number(series.times)
            json.raw(", \"apps\": [")
            for (index, app) in series.apps.enumerated() {
                if index > 0 { json.raw(", ") }
                json.string(app)
            }
            json.raw(series.hasMoreApps ? "], \"more_apps\": true}" : "], \"more_apps\": false}")
        }
        json.raw(collisions?.listed.isEmpty == false ? "\n]}\n" : "]}\n")
        return json.buffer
    }
}

extension Collisions {
    /// The sentences that say what to do, with a blank before them. Empty when no listed series is from two apps: labels do not help then.
    func remedy(hasAppLabel: Bool) -> String {
        guard listed.contains(where: { $0.apps.count > 1 }) else { return "" }
        guard hasAppLabel else { return " To tell apps apart, set app_label in [metrics]." }
        // With the label, series of two apps cannot be the same.
        return " Series of several apps have no app_label: their metrics are invalid, or came before it was set. "
            + "They get it with the next valid push or poll of each app."
    }
}
