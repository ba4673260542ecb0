import Testing

@testable import Proxy

@Suite("Config difference")
struct ConfigDifferenceTests {
    @Test("each change is a line with its key, the old value and the new one")
    func lines() {
        var new = ExporterConfig()
        new.idleTimeout = .seconds(90)
        new.maxConnections = 17
        new.enableLifecycle = true
        #expect(
            ConfigDifference.lines("exporter", ExporterConfig(), new) == [
                "exporter.enable_lifecycle: false -> true", "exporter.max_connections: 4096 -> 17", "exporter.idle_timeout: 6m -> 1m30s",
            ])
    }

    @Test("equal values make no line")
    func nothing() {
        #expect(ConfigDifference.lines("exporter", ExporterConfig(), ExporterConfig()) == [])
    }

    @Test("choices and sizes are shown as they are written")
    func receiver() {
        var new = ReceiverConfig()
        new.format = .capnp
        new.maxMessageSize = .kibibytes(1)
        #expect(
            ConfigDifference.lines("receiver", ReceiverConfig(), new) == [
                "receiver.format: json -> capnp", "receiver.max_message_size: 16777216 bytes -> 1024 bytes",
            ])
    }

    @Test("the mode of TLS, and the settings within one mode")
    func tls() {
        var (old, new) = (ExporterConfig(), ExporterConfig())
        old.tls = .required(TLSServerConfig(certFile: "a.pem", keyFile: "k.pem"))
        new.tls = .optional(TLSServerConfig(certFile: "b.pem", keyFile: "k.pem", minVersion: .tls13))
        #expect(
            ConfigDifference.lines("exporter", old, new) == [
                "exporter.tls: required -> optional", "exporter.tls_server_config.cert_file: a.pem -> b.pem",
                "exporter.tls_server_config.min_version: TLS12 -> TLS13",
            ])
    }

    @Test("no secret is shown, nor what may hold one")
    func secrets() throws {
        let url = TargetURL(origin: .http(host: "127.0.0.1", port: 1025), pathAndQuery: "/")
        let old = Target(url: url, name: try #require(AppName("a")), credentials: .basic(username: "me", password: .literal("secret1")))
        var new = old
        new.credentials = .basic(username: "me", password: .literal("secret2"))
        new.headers = [Target.Header(name: "X-Token", value: "secret3")]
        new.interval = .seconds(7)
        let lines = ConfigDifference.lines("target a", old, new)
        #expect(lines == ["target a.poll_interval: 5s -> 7s", "target a.headers has changed", "target a.credentials has changed"])
    }

    @Test(
        "keys are spelled as in the file",
        arguments: [
            ("idleTimeout", "idle_timeout"), ("clientCAFile", "client_ca_file"), ("clientCRLFile", "client_crl_file"),
            ("clientAllowedSANs", "client_allowed_sans"), ("prefersServerCipherSuites", "prefer_server_cipher_suites"), ("tls", "tls"),
            ("interval", "poll_interval"), ("timeout", "client_timeout"),
        ])
    func keys(property: String, key: String) {
        #expect(ConfigDifference.key(of: property) == key)
    }
}
