import Foundation
import Testing

@testable import Proxy

@Suite("/sd")
struct ServiceDiscoveryRouteTests {
    private let side = ScrapeSide()

    @Test("each app is a target group under the request's own address", arguments: [false, true])
    func groups(isTLS: Bool) throws {
        try side.push([("b \"x\"", "up 1\n"), ("a", "up 1\n")])
        _ = try side.target(port: 1027)
        let received = try side.send("GET", "/sd", headers: ["host": "metrics.example:6555"], isTLS: isTLS)
        #expect(received.status == 200)
        // Prometheus takes this type alone.
        #expect(received[header: "Content-Type"] == "application/json")
        #expect(received[header: "Cache-Control"] == "no-store")
        let groups = try JSONDecoder().decode([Group].self, from: Data(received.bytes))
        let expected = ["a", "b \"x\"", "external_poll: 127.0.0.1:1027"].map { name in
            Group(
                targets: ["metrics.example:6555"],
                labels: ["__scheme__": isTLS ? "https" : "http", "__metrics_path__": "/metrics", "__param_app": name, "app": name])
        }
        #expect(groups == expected)
    }

    @Test("without apps there are no groups")
    func empty() throws {
        #expect(try side.send("GET", "/sd").text == "[]\n")
    }

    @Test("without an address to name the targets after, discovery fails and Prometheus keeps those it has")
    func noHost() throws {
        let received = try side.send("GET", "/sd", headers: [:])
        #expect(received.status == 400)
        #expect(received.text.contains("Host"))
    }

    @Test("the authority of an absolute target counts as the address")
    func absolute() throws {
        try side.push([("a", "")])
        let received = try side.send("GET", "http://other:1/sd", headers: ["host": "metrics.example:6555"])
        #expect(received.text.contains("\"targets\": [\"other:1\"]"))
    }

    private struct Group: Decodable, Equatable {
        var targets: [String]
        var labels: [String: String]
    }
}
