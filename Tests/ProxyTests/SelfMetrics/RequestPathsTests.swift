import Testing

@testable import Proxy

@Suite("Requests counted")
struct RequestPathsTests {
    @Test("the paths that requests are counted by are those of the routes")
    func paths() {
        let side = ScrapeSide()
        let now = side.now.moment
        let router = Router(store: side.store, lifecycle: side.lifecycle, metrics: side.metrics, offload: side.offload, clock: { now })
        #expect(Set(router.routes.map(\.path)) == Set(Router.paths))
    }
}
