import Proxy
import Testing

@testable import Services

@Suite("DescriptorBudget")
struct DescriptorBudgetTests {
    private func demand(
        scrape: Int = 4096, perReceiver: Int = 2048, receivers: Int = 2, targets: Int = 0
    ) -> DescriptorBudget.Demand {
        DescriptorBudget.Demand(
            scrape: scrape, perReceiver: perReceiver, receivers: receivers, scrapeListeners: 1, targets: targets, eventLoops: 2)
    }

    /// What is set aside: 20 of the program, 3 for each of 2 event loops, 3 for each of 3 listeners.
    private let reserve = 35

    @Test("what fits is allowed, one less is not")
    func fits() {
        let needed = reserve + 4096 + 2 * 2048
        let enough = DescriptorBudget(demand(), limit: needed)
        #expect(enough.scrape == 4096 && enough.perReceiver == 2048 && enough.warning == nil)
        let short = DescriptorBudget(demand(), limit: needed - 1)
        #expect(short.scrape + 2 * short.perReceiver < 4096 + 2 * 2048)
        let warning = short.warning ?? ""
        for word in ["max_connections (4096)", "concurrent_requests (2048", "LimitNOFILE", "raise the limit to \(needed)"] {
            #expect(warning.contains(word), "\(warning)")
        }
    }

    @Test("each side has half, and what one does not need is the other's")
    func halves() {
        let both = DescriptorBudget(demand(), limit: reserve + 1000)
        #expect(both.scrape == 500 && both.perReceiver == 250)
        let fewScrapes = DescriptorBudget(demand(scrape: 100), limit: reserve + 1000)
        #expect(fewScrapes.scrape == 100 && fewScrapes.perReceiver == 450)
        let fewPushes = DescriptorBudget(demand(perReceiver: 50), limit: reserve + 1000)
        #expect(fewPushes.scrape == 900 && fewPushes.perReceiver == 50)
        let noReceiver = DescriptorBudget(demand(receivers: 0), limit: reserve + 1000 - 6)
        #expect(noReceiver.scrape == 1000)
    }

    @Test("targets have descriptors of their own, and each side keeps one whatever the limit is")
    func polls() {
        let polls = DescriptorBudget(demand(targets: 100), limit: reserve + 108 + 1000)
        #expect(polls.scrape == 500 && polls.perReceiver == 250)
        let few = DescriptorBudget(demand(targets: 5), limit: reserve + 10 + 1000)
        #expect(few.scrape == 500)
        let none = DescriptorBudget(demand(targets: 1000), limit: 64)
        #expect(none.scrape == 1 && none.perReceiver == 1 && none.warning != nil)
    }

    @Test("a target with a host name, or behind a proxy with one, may take two descriptors for each family of addresses")
    func names() throws {
        func scrape(_ change: (inout Target) -> Void, _ url: String) throws -> Int {
            var config = Config()
            var target = Target(url: try TargetURL.parse(url).url, name: try #require(AppName("t")))
            change(&target)
            config.poll.targets = Array(repeating: target, count: 100)
            return DescriptorBudget(config, eventLoops: 1, limit: 1000).scrape
        }
        let byAddress = try scrape({ _ in }, "http://127.0.0.1:1/")
        #expect(try scrape({ _ in }, "http://[::1]:1/") == byAddress)
        #expect(try scrape({ _ in }, "unix:/s:/metrics") == byAddress)
        #expect(try scrape({ _ in }, "https://host.example:1/") == byAddress - 300)
        #expect(try scrape({ $0.proxyURL = HTTPProxy(host: "proxy.example", port: 1) }, "http://127.0.0.1:1/") == byAddress - 300)
        #expect(try scrape({ $0.proxyURL = HTTPProxy(host: "127.0.0.1", port: 1) }, "http://host.example:1/") == byAddress)
    }
}
