import NIOCore
import Testing

@testable import Proxy

@Suite("Requests counted")
struct RequestPathsTests {
    @Test("the paths that requests are counted by are those of the routes")
    func paths() {
        let side = ScrapeSide()
        let now = side.now.moment
        let router = Router(store: side.store, lifecycle: side.lifecycle, metrics: side.metrics, offload: side.offload, clock: { now })
        #expect(Set(router.routes.map(\.path)) == Set(RoutePath.allCases).subtracting([.other]))
    }

    @Test("a path below /apps/ that can name no app counts as unknown")
    func appPaths() {
        for path in ["/apps/", "/apps/\u{1}", "/apps/" + String(repeating: "a", count: 257)] {
            #expect(RoutePath(serving: path) == .other, "\(path)")
        }
        for path in ["/apps/a", "/apps/a/b", "/apps/" + String(repeating: "a", count: 256)] {
            #expect(RoutePath(serving: path) == .app, "\(path)")
        }
    }

    @Test("any path and any code is counted, successful scrapes from the start")
    func counted() {
        let requests = SelfMetrics(version: "1", start: Timestamp(nanoseconds: 0)) { nil }.requests
        let paths = ["/apps/a", "/metrics", "/apps/b/c", "/nothing", "/metrics", "/-/ready"]
        for path in paths { requests.count(path: path, code: path == "/nothing" ? 404 : 200) }
        requests.count(path: nil, code: 499)
        requests.count(path: "/metrics", code: 200)
        requests.count(path: "other", code: 404)
        var writer = ExpositionWriter(capacity: 1024)
        requests.write(to: &writer)
        let lines = String(buffer: writer.buffer).split(separator: "\n").filter { !$0.hasPrefix("#") }
        #expect(
            lines.map { $0.dropFirst("exporter_proxy_http_requests_total".count) } == [
                #"{path="/metrics",code="200"} 3"#, #"{path="/apps/NAME",code="200"} 2"#, #"{path="/-/ready",code="200"} 1"#,
                #"{path="other",code="404"} 2"#, #"{path="other",code="499"} 1"#,
            ])
    }
}
