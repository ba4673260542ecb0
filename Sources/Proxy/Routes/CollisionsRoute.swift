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
        let body = format == .json ? Self.json(of: checker.collisions) : Self.text(of: checker.collisions)
        return .now(Response(status: 200, headers: format.headers, body: [body], contentLength: body.readableBytes))
    }

    /// - Parameter collisions: `nil` before the first search has ended.
    static func json(of collisions: Collisions?) -> ByteBuffer {
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
            json.raw("]}")
        }
        json.raw(collisions?.listed.isEmpty == false ? "\n]}\n" : "]}\n")
        return json.buffer
    }

    /// - Parameter collisions: `nil` before the first search has ended.
    static func text(of collisions: Collisions?) -> ByteBuffer {
        var text = ByteBuffer()
        guard let collisions else { return ByteBuffer(string: "series have not been compared yet\n") }
        guard let count = collisions.count else {
            return ByteBuffer(string: "not counted: there are more than \(CollisionSearch.maxSeries) series\n")
        }
        guard count > 0 else { return ByteBuffer(string: "no series is exposed more than once\n") }
        text.writeString(count == 1 ? "1 series is" : "\(count) series are")
        text.writeString(" exposed more than once; Prometheus keeps one sample of each.\(collisions.remedy)\n")
        if collisions.listed.count < count { text.writeString("The first \(collisions.listed.count):\n") }
        for series in collisions.listed {
            text.writeString("\n\(PrintableText(series.text).text)\n    \(series.times) times, by: ")
            text.writeString(series.apps.map { PrintableText($0).text }.joined(separator: ", "))
            text.writeString(series.hasMoreApps ? ", …\n" : "\n")
        }
        return text
    }
}

extension Collisions {
    /// The sentence that says what to do, with a blank before it. It is empty when no listed series is from two apps: labels do not help then.
    var remedy: String { listed.contains { $0.apps.count > 1 } ? " To tell apps apart, set app_label in [metrics]." : "" }
}
