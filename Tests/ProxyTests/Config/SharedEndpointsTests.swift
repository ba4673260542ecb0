import Testing

@testable import Proxy

@Suite("Targets that share a host and port")
struct SharedEndpointsTests {
    private func decode(_ poll: String) throws -> (names: [String], warnings: [String]) {
        let text = "[poll_external]\npoll_other_scrape_endpoints = true\n\(poll)"
        let decoded = try ConfigDecoder(file: "config.toml", folder: "/etc/exporter-proxy").decode(FileReading(bytes: Array(text.utf8)))
        return (decoded.config.poll.targets.map(\.name.description), decoded.warnings.map(\.description))
    }

    @Test("are named by their paths too, which is warned about once, with the remedy")
    func warned() throws {
        let (names, warnings) = try decode(#"other_scrape_endpoints = ["http://h:9115/a", "http://h:9115/b", "http://i:9115/a"]"#)
        #expect(names == ["external_poll: h:9115/a", "external_poll: h:9115/b", "external_poll: i:9115"])
        #expect(
            warnings == [
                "config.toml:3:27: warning: poll_external.other_scrape_endpoints[0]: 2 targets are at h:9115, so that their paths are part of "
                    + "their apps' names; give each a name in [[poll_external.targets]], and no app is renamed when a target comes or goes"
            ])
    }

    @Test("with names of their own keep them, and nothing is warned about")
    func named() throws {
        let (names, warnings) = try decode(
            """
            [[poll_external.targets]]
            url = "http://h:9115/a"
            name = "a"
            [[poll_external.targets]]
            url = "http://h:9115/b"
            name = "b"
            """)
        #expect(names == ["a", "b"] && warnings.isEmpty)
    }
}
