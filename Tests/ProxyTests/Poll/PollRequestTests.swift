import NIOCore
import Testing

@testable import Proxy

@Suite("PollRequest")
struct PollRequestTests {
    private func target(_ origin: TargetURL.Origin = .http(host: "example.org", port: 9100), _ path: String = "/metrics") throws -> Target {
        Target(url: TargetURL(origin: origin, pathAndQuery: path), name: try #require(AppName("app")))
    }

    private func text(_ target: Target) throws -> String {
        String(buffer: try PollRequest(target: target, version: "1.2.3", instance: "f00").bytes)
    }

    @Test("the whole request, byte for byte")
    func whole() throws {
        #expect(
            try text(target()) == """
                GET /metrics HTTP/1.1\r
                Host: example.org:9100\r
                User-Agent: exporter-proxy/1.2.3\r
                Accept: text/plain;version=0.0.4;q=1,*/*;q=0.1\r
                Accept-Encoding: gzip\r
                X-Prometheus-Scrape-Timeout-Seconds: 2\r
                X-Exporter-Proxy-Instance: f00\r
                \r

                """)
    }

    @Test(
        "Host has the port unless it is the scheme's, and brackets around IPv6",
        arguments: [
            (TargetURL.Origin.http(host: "h", port: 80), "h"), (.http(host: "h", port: 443), "h:443"),
            (.https(host: "h", port: 443), "h"), (.https(host: "h", port: 80), "h:80"), (.https(host: "::1", port: 443), "[::1]"),
            (.http(host: "::1", port: 9100), "[::1]:9100"), (.unix(path: "/run/a.sock"), "localhost"),
        ])
    func host(origin: TargetURL.Origin, expected: String) throws {
        #expect(try text(target(origin)).contains("\r\nHost: \(expected)\r\n"))
    }

    @Test(
        "the timeout is told in seconds",
        arguments: [
            (Duration.seconds(10), "10"), (.milliseconds(500), "0.5"), (.milliseconds(1250), "1.25"), (.milliseconds(5), "0.005"),
            (.seconds(90), "90"),
        ])
    func timeout(duration: Duration, expected: String) throws {
        var target = try target()
        target.timeout = duration
        #expect(try text(target).contains("\r\nX-Prometheus-Scrape-Timeout-Seconds: \(expected)\r\n"))
    }

    @Test("configured headers come in their order")
    func headers() throws {
        var target = try target()
        target.headers = [.init(name: "X-B", value: "2"), .init(name: "X-A", value: "1")]
        #expect(try text(target).contains("\r\nX-B: 2\r\nX-A: 1\r\n"))
    }

    @Test("a header that the client sets itself is refused, not dropped", arguments: ["HOST", "accept", "X-Exporter-Proxy-Instance"])
    func ownHeaders(name: String) throws {
        var target = try target()
        target.headers = [.init(name: name, value: "evil")]
        let error = #expect(throws: PollRequest.InvalidRequest.self) { try text(target) }
        #expect(error?.description == "header \(name) of target app is set by the client itself")
    }

    @Test("keep_alive = false asks the target to close the connection")
    func keepAlive() throws {
        var target = try target()
        #expect(try !text(target).contains("Connection:"))
        target.keepAlive = false
        #expect(try text(target).contains("\r\nConnection: close\r\n"))
    }

    @Test("through a proxy, http targets are asked in absolute form, with the proxy's credentials")
    func proxy() throws {
        var target = try target(.http(host: "::1", port: 9100), "/metrics?x=1")
        target.proxyURL = HTTPProxy(host: "proxy", port: 3128)
        #expect(try text(target).hasPrefix("GET http://[::1]:9100/metrics?x=1 HTTP/1.1\r\nHost: [::1]:9100\r\n"))
        #expect(try !text(target).contains("Proxy-Authorization"))
        target.proxyURL = HTTPProxy(host: "proxy", port: 3128, username: "Aladdin", password: .literal("open sesame"))
        #expect(try text(target).contains("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"))
    }

    @Test("through a proxy, https targets get a tunnel, and do not see the proxy's credentials")
    func tunnel() throws {
        var target = try target(.https(host: "example.org", port: 443))
        target.proxyURL = HTTPProxy(host: "proxy", port: 3128, username: "Aladdin", password: .literal("open sesame"))
        target.credentials = .basic(username: "u", password: .literal("p"))
        let request = try PollRequest(target: target, version: "1")
        #expect(
            String(buffer: request.tunnelRequest(to: target.url.origin))
                == "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n"
                + "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n")
        let text = try text(target)
        #expect(text.hasPrefix("GET /metrics HTTP/1.1\r\nHost: example.org\r\n") && !text.contains("Proxy-Authorization"))
    }

    @Test("basic authorization is base64 of name and password")
    func basic() throws {
        var target = try target()
        target.credentials = .basic(username: "Aladdin", password: .literal("open sesame"))
        // The example of RFC 7617 §2.
        #expect(try text(target).contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"))
    }

    @Test("a secret's file loses its final newline and no more", arguments: ["s3cret\n", "s3cret\r\n", "s3cret"])
    func file(content: String) throws {
        var target = try target()
        target.credentials = .authorization(type: "Bearer", credentials: .file(SecretFile(path: "/etc/token", bytes: Array(content.utf8))))
        #expect(try text(target).contains("\r\nAuthorization: Bearer s3cret\r\n"))
    }

    @Test(
        "a secret that would end the header early is refused, and not shown",
        arguments: ["a\nX-Evil: 1", "a\r\nb", "a\u{0}", "a\u{7F}", "a\n\n"])
    func injection(secret: String) throws {
        var target = try target()
        let file = SecretFile(path: "f", bytes: Array(secret.utf8))
        for credentials in [
            Target.Credentials.authorization(type: "Bearer", credentials: .file(file)), .basic(username: "u", password: .file(file)),
            .authorization(type: "Bearer", credentials: .literal(secret)), .basic(username: "u", password: .literal(secret)),
        ] {
            target.credentials = credentials
            let error = #expect(throws: PollRequest.InvalidRequest.self) { try text(target) }
            #expect(error?.description.contains("Evil") == false)
        }
    }

    @Test("what cannot be sent is refused")
    func refused() throws {
        var target = try target()
        target.credentials = .basic(username: "a:b", password: .literal("c"))
        #expect(throws: PollRequest.InvalidRequest.self) { try text(target) }
        for bytes: [UInt8] in [[], [0xFF]] {
            target.credentials = .authorization(type: "Bearer", credentials: .file(SecretFile(path: "f", bytes: bytes)))
            #expect(throws: PollRequest.InvalidRequest.self) { try text(target) }
        }
        target.credentials = nil
        target.headers = [.init(name: "X", value: "a\r\nb")]
        #expect(throws: PollRequest.InvalidRequest.self) { try text(target) }
        target.headers = [.init(name: "X Y", value: "a")]
        #expect(throws: PollRequest.InvalidRequest.self) { try text(target) }
        #expect(throws: PollRequest.InvalidRequest.self) { try text(self.target(.http(host: "a\r\nb", port: 80))) }
        #expect(throws: PollRequest.InvalidRequest.self) { try text(self.target(.http(host: "a", port: 80), "/a b")) }
    }

    @Test("a hop that is not trusted sees neither Authorization nor configured headers")
    func untrusted() throws {
        var target = try target()
        target.credentials = .basic(username: "u", password: .literal("p"))
        target.headers = [.init(name: "X-Api-Key", value: "k")]
        let request = try PollRequest(target: target, version: "1")
        let trusted = String(buffer: request.bytes(for: .init(url: target.url, isTrusted: true)))
        #expect(trusted.contains("Authorization: ") && trusted.contains("X-Api-Key: "))
        let untrusted = String(buffer: request.bytes(for: .init(url: target.url, isTrusted: false)))
        #expect(!untrusted.contains("Authorization") && !untrusted.contains("X-Api-Key"))
        #expect(untrusted.contains("Accept-Encoding: gzip") && untrusted.hasSuffix("\r\n\r\n"))
        let moved = String(
            buffer: request.bytes(for: .init(url: TargetURL(origin: target.url.origin, pathAndQuery: "/b"), isTrusted: true)))
        #expect(moved.hasPrefix("GET /b HTTP/1.1\r\n") && moved.contains("Authorization: "))
    }

    @Test(
        "base64 as in RFC 4648 §10",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
        ])
    func base64(plain: String, coded: String) {
        #expect(Base64.encode(Array(plain.utf8)) == coded)
    }
}
