import Proxy
import Testing

@Suite struct PushAddressTests {
    @Test(
        "addresses are read and written alike",
        arguments: [
            ("unix:/run/a.sock", PushAddress.unix(path: "/run/a.sock")),
            ("unix:relative.sock", .unix(path: "relative.sock")),
            ("tcp://127.0.0.1:6554", .tcp(host: "127.0.0.1", port: 6554)),
            ("tcp://[::1]:6554", .tcp(host: "::1", port: 6554)),
            ("tcp://localhost:65535", .tcp(host: "localhost", port: 65535)),
            ("tls://metrics.example.org:1", .tls(host: "metrics.example.org", port: 1)),
            ("tls://[fe80::1%eth0]:6554", .tls(host: "fe80::1%eth0", port: 6554)),
            ("http://127.0.0.1:9091", .http(host: "127.0.0.1", port: 9091)), ("https://[::1]:1", .https(host: "::1", port: 1)),
        ])
    func reads(text: String, address: PushAddress) throws {
        #expect(try PushAddress(text) == address)
        #expect(try PushAddress(text).description == text)
    }

    @Test(
        "anything else is refused, and the reason says what to write",
        arguments: [
            ("", "unix:/path"), ("/run/a.sock", "unix:/path"), ("127.0.0.1:6554", "tcp://host:port"), ("ftp://host:1", "http://host:port"),
            ("http://host", "host:port"), ("http://host:1/apps", "1 to 65535"),
            ("unix:", "unix:/path"), ("tcp://host", "host:port"), ("tcp://[::1]", "host:port"), ("tcp://:1", "host"),
            ("tcp://host:", "1 to 65535"), ("tcp://host:0", "1 to 65535"), ("tcp://host:65536", "1 to 65535"),
            ("tcp://host:+1", "1 to 65535"),
            ("tcp://host:http", "1 to 65535"), ("tcp://host:1/", "1 to 65535"), ("tcp://::1:6554", "[::1]:6554"), ("tls://[]:1", "host"),
            ("tcp://user@host:1", "--password-file"), ("http://user:hunter2@host:1", "--password-file"),
            ("http://user:hunter2@[::1]:1/", "--password-file"), ("tcp://a b:1", "host"),
        ])
    func refuses(text: String, hint: String) {
        #expect {
            _ = try PushAddress(text)
        } throws: { error in
            "\(error)".contains(hint) && !"\(error)".contains("hunter2")
        }
    }
}
