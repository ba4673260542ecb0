import Foundation
import TestSupport
import Testing

extension Attacks {
    @Suite("by polled targets")
    struct ByTargets {
        @Test("bodies of all targets together take no more than max_inflight_size")
        func endlessGzip() async throws {
            try await withHostileTargets { port, _ in
                let targets = (0..<40).map { "endless-gzip/\($0)" }
                let limits = "max_inflight_size = \"64MiB\""
                try await withProxy(Attacked.scrape() + Attacked.receiver() + Attacked.poll(targets, port: port, limits)) { proxy in
                    let measured = try await proxy.attack("observe", "hold=4")
                    try measured.expectHarmless(holding: 64 + 64, turns: 8, isPolling: true)
                }
            }
        }

        @Test(
            "a target whose answer never ends takes no memory and no more than its turn",
            arguments: [
                "endless-extensions", "endless-extension", "endless-head", "endless-trailers", "endless-continues", "tiny-chunks",
                "tiny-members", "trickle", "unasked",
            ])
        func endlessAnswers(kind: String) async throws {
            try await withHostileTargets { port, _ in
                let targets = ["\(kind)/1", "\(kind)/2"]
                let limits = "body_size_limit = \"4MiB\""
                try await withProxy(Attacked.scrape() + Attacked.receiver() + Attacked.poll(targets, port: port, limits)) { proxy in
                    let measured = try await proxy.attack("observe", "hold=4")
                    try measured.expectHarmless(holding: 32, turns: 4, isPolling: true)
                }
            }
        }

        /// This machine's address that is neither loopback nor link-local.
        private static let ownAddress: String? = {
            var first: UnsafeMutablePointer<ifaddrs>?
            guard getifaddrs(&first) == 0 else { return nil }
            defer { freeifaddrs(first) }
            var next = first
            while let entry = next {
                defer { next = entry.pointee.ifa_next }
                guard let address = entry.pointee.ifa_addr, address.pointee.sa_family == UInt16(AF_INET) else { continue }
                var text = [CChar](repeating: 0, count: Int(INET_ADDRSTRLEN))
                let size = socklen_t(MemoryLayout<sockaddr_in>.size)
                guard getnameinfo(address, size, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0 else { continue }
                let name = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                if !name.hasPrefix("127.") && !name.hasPrefix("169.254.") { return name }
            }
            return nil
        }()

        @Test(
            "a redirect of a target elsewhere to a service of this host is not followed",
            .enabled(if: ownAddress != nil, "this machine has no address but loopback"))
        func redirectsToInside() async throws {
            let address = try #require(Self.ownAddress)
            try await withHostileTargets { inside, requested in
                try await withHostileTargets(on: address) { outside, _ in
                    let targets = ["redirect/127.0.0.1:\(inside)/good", "redirect/[::ffff:127.0.0.1]:\(inside)/good/mapped"]
                    let poll = Attacked.poll(targets, port: outside, host: address)
                    try await withProxy(Attacked.scrape() + poll) { proxy in
                        let connection = try RawConnection(to: proxy.scrape)
                        try await wait(for: "a poll of each target to fail") {
                            let lines = try await connection.get("/metrics").body.split(separator: "\n")
                            return lines.count { $0.contains(#"result="failure"} "#) && $0.contains("polls_total") && !$0.hasSuffix(" 0") }
                                == 2
                        }
                        let body = try await connection.get("/metrics").body
                        #expect(!body.contains("good 1"))
                        #expect(!requested().contains("/good"), "\(requested())")
                    }
                }
            }
        }
    }
}
