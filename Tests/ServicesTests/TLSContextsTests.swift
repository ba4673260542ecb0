import Proxy
import TLS
import TestSupport
import Testing

@testable import Services

/// The contexts that a configuration asks for, and which of them a reload keeps.
@Suite("TLSContexts")
struct TLSContextsTests {
    private static let ca = Result { try ThrowawayCA() }

    private func write(to folder: TemporaryFolder) throws {
        let ca = try Self.ca.get()
        for name in ["server", "client"] {
            let certificate = try ca.serverCertificate()
            try folder.write("\(name).pem", certificate.chainPEM)
            try folder.write("\(name)-key.pem", certificate.privateKeyPEM, mode: 0o600)
        }
        try folder.write("ca.pem", ca.certificatePEM)
    }

    private func load(_ folder: TemporaryFolder, _ more: String = "") throws -> LoadedConfig {
        try folder.write(
            "config.toml",
            """
            [exporter.tls_server_config]
            cert_file = "server.pem"
            key_file = "server-key.pem"
            [poll_external]
            poll_other_scrape_endpoints = true
            other_scrape_endpoints = ["https://a.example/metrics", "http://b.example/metrics"]
            [poll_external.tls_config]
            ca_file = "ca.pem"
            \(more)
            """)
        return try ConfigLoader(file: folder.path("config.toml")).read().result.get()
    }

    @Test("a reload keeps the contexts whose settings and files have not changed, and makes the others")
    func kept() async throws {
        try await withTemporaryFolder { folder in
            try write(to: folder)
            let tickets = SessionTickets()
            let first = try TLSContexts(load(folder), tickets: tickets)
            let same = try TLSContexts(load(folder), tickets: tickets, replacing: first)
            #expect(same.scrape === first.scrape)
            #expect(same.targets[0]?.own === first.targets[0]?.own)
            let other = try Self.ca.get().serverCertificate()
            try folder.write("server.pem", other.chainPEM)
            try folder.write("server-key.pem", other.privateKeyPEM, mode: 0o600)
            let rotated = try TLSContexts(load(folder), tickets: tickets, replacing: same)
            #expect(rotated.scrape !== first.scrape)
            #expect(rotated.targets[0]?.own === first.targets[0]?.own)
            let changed = try TLSContexts(load(folder, "max_version = \"TLS12\""), tickets: tickets, replacing: rotated)
            #expect(changed.scrape === rotated.scrape)
            #expect(changed.targets[0]?.own !== first.targets[0]?.own)
        }
    }

    @Test("the context of an https target is made with the configuration, that of another target when it is needed")
    func made() async throws {
        try await withTemporaryFolder { folder in
            try write(to: folder)
            let text = """
                [poll_external]
                poll_other_scrape_endpoints = true
                other_scrape_endpoints = ["https://a.example/metrics"]
                """
            try folder.write("config.toml", text)
            let https = try TLSContexts(ConfigLoader(file: folder.path("config.toml")).read().result.get())
            #expect(https.targets[0]?.own.made != nil)
            try folder.write("config.toml", text.replacing("https:", with: "http:"))
            let http = try TLSContexts(ConfigLoader(file: folder.path("config.toml")).read().result.get())
            #expect(http.targets[0]?.own.made == nil)
        }
    }

    @Test("unknown suites and curves of targets are told at their keys, all of them")
    func unknownNames() async throws {
        try await withTemporaryFolder { folder in
            try write(to: folder)
            let loaded = try load(
                folder,
                """
                cipher_suites = ["TLS_AES_128_GCM_SHA256", "RC4-MD5"]
                curve_preferences = ["P-999"]
                [[poll_external.targets]]
                url = "http://c.example/metrics"
                [[poll_external.targets]]
                url = "http://d.example/metrics"
                tls_config = { curve_preferences = ["X25519", "X"] }
                """)
            do throws(ConfigProblems) {
                _ = try TLSContexts(loaded)
                Issue.record("nothing was refused")
            } catch {
                #expect(
                    error.problems.map(\.key) == [
                        "poll_external.tls_config.cipher_suites[1]", "poll_external.tls_config.curve_preferences[0]",
                        "poll_external.targets[1].tls_config.curve_preferences[1]",
                    ])
                #expect(error.problems.allSatisfy { $0.position != nil })
            }
        }
    }

    @Test(
        "an unknown suite or curve is told at its key when its table is not in use, too",
        arguments: [
            ("exporter.tls_server_config", "[exporter]\ntls = \"off\"\n", "cert_file = \"server.pem\"\nkey_file = \"server-key.pem\"\n"),
            ("receiver.tls_server_config", "", "cert_file = \"server.pem\"\nkey_file = \"server-key.pem\"\n"),
            ("poll_external.tls_config", "", ""),
            ("poll_external.targets[0].tls_config", "[[poll_external.targets]]\nurl = \"https://a.example/metrics\"\n", ""),
        ])
    func unknownNamesOfUnusedTables(table: String, before: String, needed: String) async throws {
        try await withTemporaryFolder { folder in
            let header = table.replacing("[0]", with: "")
            try folder.write(
                "config.toml", "\(before)[\(header)]\n\(needed)cipher_suites = [\"RC4-MD5\"]\ncurve_preferences = [\"X25519\", \"X\"]\n")
            let loaded = try ConfigLoader(file: folder.path("config.toml")).read().result.get()
            do throws(ConfigProblems) {
                _ = try TLSContexts(loaded)
                Issue.record("nothing was refused")
            } catch {
                #expect(error.problems.map(\.key) == ["\(table).cipher_suites[0]", "\(table).curve_preferences[1]"])
                #expect(error.problems.allSatisfy { $0.position != nil })
            }
        }
    }

    @Test("a file that several keys name is blamed at the key of the target that cannot use it, once")
    func sharedFiles() async throws {
        try await withTemporaryFolder { folder in
            try write(to: folder)
            func keys(_ targets: String) throws -> [String?] {
                let loaded = try load(folder, "[[poll_external.targets]]\nurl = \"http://c.example/metrics\"\n\(targets)")
                do throws(ConfigProblems) {
                    _ = try TLSContexts(loaded)
                    return []
                } catch {
                    #expect(error.problems.allSatisfy { $0.position != nil })
                    return error.problems.map(\.key)
                }
            }
            let right = "tls_config = { cert_file = \"client.pem\", key_file = \"client-key.pem\" }\n"
            let other = "[[poll_external.targets]]\nurl = \"http://d.example/metrics\"\n"
            #expect(try keys(right + other + right) == [])
            #expect(
                try keys(right + other + "tls_config = { cert_file = \"server.pem\", key_file = \"client-key.pem\" }\n") == [
                    "poll_external.targets[1].tls_config.key_file"
                ])
            #expect(
                try keys("tls_config = { cert_file = \"client.pem\", key_file = \"server-key.pem\" }\n") == [
                    "poll_external.targets[0].tls_config.key_file"
                ])
            #expect(
                try keys(right + other + "tls_config = { ca_file = \"client-key.pem\" }\n") == [
                    "poll_external.targets[1].tls_config.ca_file"
                ])
        }
    }

    @Test(
        "a certificate without an end has the last time that can be written",
        arguments: [
            (253_402_300_799, "2262-04-11T23:47:16Z"), (1_700_000_000, "2023-11-14T22:13:20Z"), (Int64.min, "1677-09-21T00:12:44Z"),
        ])
    func timeOfACertificate(seconds: Int64, text: String) {
        #expect(Timestamp(seconds: seconds).rfc3339 == text)
        #expect(dateText(seconds) == text)
    }
}
