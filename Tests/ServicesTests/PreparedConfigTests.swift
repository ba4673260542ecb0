import NIOCore
import Proxy
import TestSupport
import Testing

@testable import Services

@Suite("A prepared configuration")
struct PreparedConfigTests {
    private func problems(_ text: String) async throws -> [String] {
        try await withTemporaryFolder { folder in
            try folder.write("config.toml", text)
            let loaded = try ConfigLoader(file: folder.path("config.toml")).read().result.get()
            do throws(ConfigProblems) {
                _ = try PreparedConfig(loaded)
                return []
            } catch {
                return error.problems.map { "\($0.position?.line ?? 0) \($0.key ?? "") \($0.message)" }
            }
        }
    }

    @Test("its problems are in the order of the file, as check prints them")
    func order() async throws {
        let config = """
            [receiver]
            receive_on_unix_socket = true
            receiver_unix_socket = "r.sock"
            unix_socket_group = "no-such-group"
            unix_socket_user = "no-such-user"
            [[receiver.owners]]
            apps = ["a"]
            groups = ["no-such-group"]
            users = ["no-such-user"]

            """
        let lines = try await problems(config).map { $0.prefix { $0 != " " } }
        #expect(lines == ["4", "5", "8", "9"])
    }

    @Test("a target at an address of this machine is refused when the scrape side listens on all addresses")
    func ownAddress() async throws {
        let own = try System.enumerateDevices().compactMap { $0.address?.ipAddress }.first { !$0.contains(":") && !$0.hasPrefix("127.") }
        // Without a network there is nothing to reach.
        guard let host = own else { return }
        let config = """
            [exporter]
            scrape_expose_endpoint = "0.0.0.0:6999"
            [poll_external]
            poll_other_scrape_endpoints = true
            other_scrape_endpoints = ["http://\(host):6998/metrics", "http://\(host):6999/metrics"]
            [[poll_external.targets]]
            url = "https://[::ffff:\(host)]:6999/metrics"
            [[poll_external.targets]]
            url = "https://192.0.2.77:6999/metrics"

            """
        let words = "is this proxy's own scrape address"
        let (first, second) = ("poll_external.other_scrape_endpoints[1]", "poll_external.targets[0].url")
        #expect(
            try await problems(config) == [
                "5 \(first) \(first) \(words) 0.0.0.0:6999", "7 \(second) \(second) \(words) 0.0.0.0:6999",
            ])
        #expect(try await problems(config.replacing("0.0.0.0", with: "[::]")).count == 2)
        #expect(try await problems(config.replacing("0.0.0.0", with: "127.0.0.1")) == [])
    }
}
