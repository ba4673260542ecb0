import Foundation
import TestSupport
import Testing

extension Attacks {
    @Suite("by requests that are not what they seem")
    struct ByRequests {
        private static let operable = Attacked.scrape("enable_lifecycle = true") + Attacked.receiver()

        private func answer(_ proxy: ProxyProcess, _ request: String) async throws -> (status: Int, head: String, body: String) {
            let connection = try RawConnection(to: proxy.scrape)
            try connection.send(request)
            return try await connection.response()
        }

        @Test(
            "a request that a browser sends for another site changes nothing",
            arguments: [
                "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: http://elsewhere.example", "Origin: null",
                "Origin: http://localhost:1", "Sec-Fetch-Site: none\r\nOrigin: http://elsewhere.example",
                "Sec-Fetch-Site: CROSS-SITE",
            ])
        func crossSite(field: String) async throws {
            try await withProxy(Self.operable) { proxy in
                let connection = try RawConnection(to: try #require(proxy.tcpAddress))
                try connection.send(#"{"victim": "v 1"}"#)
                connection.endOutput()
                #expect(try await connection.receiveToEnd() == "")
                for line in ["POST /-/reload", "DELETE /apps/victim"] {
                    let refused = try await answer(proxy, "\(line) HTTP/1.1\r\nHost: localhost\r\n\(field)\r\n\r\n")
                    #expect(refused.status == 403, "\(line): \(refused)")
                }
                #expect(try await answer(proxy, "GET /metrics?app=victim HTTP/1.1\r\nHost: localhost\r\n\(field)\r\n\r\n").status == 200)
                #expect(!proxy.log.contains("request="), "\(proxy.log)")
                let own = "Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost"
                #expect(try await answer(proxy, "DELETE /apps/victim HTTP/1.1\r\nHost: localhost\r\n\(own)\r\n\r\n").status == 204)
            }
        }

        @Test(
            "chunks that two readers could read in two ways are refused",
            arguments: [
                "5 x\r\nabcde\r\n0\r\n\r\n", "5\nabcde\r\n0\r\n\r\n", "5;a\nb\r\nabcde\r\n0\r\n\r\n", "5\r\nabcde\n0\r\n\r\n",
                "5\r\nabcde\r\n0\n\r\n", "5\r\nabcde\r\n0\r\n\n", "0x5\r\nabcde\r\n0\r\n\r\n", "+5\r\nabcde\r\n0\r\n\r\n",
                "5\r\nabcdef\r\n0\r\n\r\n", "5;\u{1}\r\nabcde\r\n0\r\n\r\n", "\r\n5\r\nabcde\r\n0\r\n\r\n",
                "5\r\r\nabcde\r\n0\r\n\r\n",
            ])
        func chunkLines(body: String) async throws {
            try await withProxy(Attacked.scrape()) { proxy in
                let head = "GET /-/healthy HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                let refused = try await answer(proxy, head + body)
                #expect(refused.status == 400, "\(body.debugDescription): \(refused)")
                #expect(refused.head.lowercased().contains("connection: close"))
                let good = try await answer(proxy, head + "5;a=b;c=\"d e\"\r\nabcde\r\n0\r\nX: y\r\n\r\n")
                #expect(good.status == 200)
            }
        }

        /// The password `test` takes a while to check at this cost, so that the reset comes first.
        @Test("a deletion leaves its line in the log when the connection is reset meanwhile")
        func deletionAndReset() async throws {
            let users = "[exporter.basic_auth_users]\nprometheus = \"$2b$11$abcdefghijklmnopqrstuu1/tUYZVb/Idu0852FBx1m1iH6EItwTy\"\n"
            try await withProxy(Attacked.scrape("enable_lifecycle = true") + users + Attacked.receiver()) { proxy in
                let connection = try RawConnection(to: try #require(proxy.tcpAddress))
                try connection.send(#"{"victim": "v 1"}"#)
                connection.endOutput()
                #expect(try await connection.receiveToEnd() == "")
                let password = "Basic \(Data("prometheus:test".utf8).base64EncodedString())"
                let measured = try await proxy.attack(
                    "reset-after-request", "pause_ms=5", "authorization=\(password)", authorization: password)
                try measured.expectHarmless(holding: 8, turns: 8)
                let after = try await answer(
                    proxy, "GET /apps/victim HTTP/1.1\r\nHost: localhost\r\nAuthorization: \(password)\r\n\r\n")
                let isDeleted = after.status == 404
                let isAudited = proxy.log.contains("DELETE /apps/victim")
                #expect(isDeleted == isAudited, "deleted: \(isDeleted); \(proxy.log)")
            }
        }

        @Test(
            "a secret in a place where none belongs is not repeated in the error",
            arguments: [
                #"authorization = { type = "Bearer s3cretToken", credentials = "x" }"#,
                #"headers = { "X-Token: s3cretToken" = "x" }"#,
                #"headers = { "X-Token" = "s3cretToken\n" }"#,
                #"basic_auth = { username = "a:b", password = "s3cretToken" }"#,
                #"authorization = { credentials = "s3cretToken\u0001" }"#,
                #"authorization = { credentials = "s3cretToken", credentials_file = "x" }"#,
            ])
        func secretsInMessages(setting: String) async throws {
            let config = Attacked.scrape() + "[poll_external]\npoll_other_scrape_endpoints = true\n"
            let target = "[[poll_external.targets]]\nurl = \"http://127.0.0.1:9/\"\n\(setting)\n"
            try await withTemporaryFolder { folder in
                try folder.write("config.toml", config + target, mode: 0o600)
                let check = try await run(ProxyProcess.executable, ["check", "--config", folder.path("config.toml")])
                #expect(!check.succeeded, "\(check.errors)")
                #expect(!(check.errors + check.output).contains("s3cretToken"), "\(check.errors)")
                #expect(check.errors.contains("error: "), "\(check.errors)")
            }
        }

        @Test("a configuration with a literal password that others may read is warned about")
        func readableSecrets() async throws {
            let target = """
                [poll_external]
                poll_other_scrape_endpoints = true
                [[poll_external.targets]]
                url = "http://127.0.0.1:9/"
                basic_auth = { username = "a", password = "s3cretToken" }

                """
            try await withTemporaryFolder { folder in
                for (mode, warns) in [(UInt16(0o644), true), (0o640, false), (0o600, false)] {
                    try folder.write("config.toml", Attacked.scrape() + target, mode: mode)
                    let check = try await run(ProxyProcess.executable, ["check", "--config", folder.path("config.toml")])
                    #expect(check.succeeded && check.errors.contains("warning: ") == warns, "\(String(mode, radix: 8)): \(check.errors)")
                    #expect(!check.errors.contains("s3cretToken"), "\(check.errors)")
                }
            }
        }
    }
}
