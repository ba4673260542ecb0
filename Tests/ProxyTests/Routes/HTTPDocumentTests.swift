import HTTP
import Foundation
import Testing

@testable import Proxy

/// What `docs/http.md` says of routes and of the members of JSON is what there is.
@Suite struct HTTPDocumentTests {
    private let side = ScrapeSide()

    private func page() throws -> String {
        try String(contentsOf: ConfigDocumentsTests.root.appending(path: "docs/http.md"), encoding: .utf8)
    }

    @Test("every route stands in the table of routes, with its method when it is not a reading one, and none that is not there")
    func routes() throws {
        let router = Router(
            store: side.store, lifecycle: side.lifecycle, metrics: side.metrics, offload: side.offload,
            clock: { Timestamp(nanoseconds: 0).moment }
        )
        let routes = router.routes.map { route in
            let methods = route.methods.map(\.description).joined(separator: " ")
            return route.methods.contains(.get) ? route.path.rawValue : "\(methods) \(route.path.rawValue)"
        }
        let table = try #require(try page().split(separator: "| path | for | answer |\n").last?.split(separator: "\n\n").first)
        let documented = table.split(separator: "\n").dropFirst().flatMap { row in
            row.split(separator: "|")[0].matches(of: #/`([^`]+)`/#).map { String($0.1) }
        }
        #expect(Set(documented) == Set(routes))
    }

    @Test("push.md names each time after which a push gets 408")
    func times() throws {
        let page = try String(contentsOf: ConfigDocumentsTests.root.appending(path: "docs/push.md"), encoding: .utf8)
        let row = try #require(page.split(separator: "\n").first { $0.hasPrefix("| 408 |") })
        for timeout in [Rejection.Timeout.head, .idle, .message] {
            let key = try #require(Rejection.timedOut(timeout).line.firstMatch(of: #/[a-z]+_timeout/#)).output
            #expect(row.contains("`\(key)`"))
        }
    }

    @Test("every member of the JSON of /apps stands in the table of members")
    func members() throws {
        try side.push([("app", "up 1\n")])
        side.lifecycle.status.listeners = [.init(name: "l", kind: .tcp)]
        side.lifecycle.status.lastReload = .init(time: side.now)
        let json = try side.send("GET", "/apps?format=json").text
        let table = try #require(try page().split(separator: "| member | |\n").last?.split(separator: "\n\n").first)
        let names = Set(json.matches(of: #/"([a-z_]+)":/#).map { String($0.1) })
        #expect(names.count > 12)
        for name in names { #expect(table.contains("`\(name)`"), "\(name)") }
    }
}
