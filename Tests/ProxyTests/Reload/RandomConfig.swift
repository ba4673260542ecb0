@testable import Proxy

/// Small configurations out of few values, so that two of them have much in common and everything differs now and then.
struct RandomConfig {
    private var random: SplitMix

    init(seed: UInt64) { random = SplitMix(state: seed) }

    mutating func loaded() -> LoadedConfig {
        var config = Config()
        var references: [FileReference] = []
        config.exporter.workerThreads = pick([nil, 1, 2])
        config.exporter.scrapeAddresses =
            pick([
                ["127.0.0.1", 1], ["0.0.0.0", 1], ["::", 1, "0.0.0.0", 1], ["::", 1], ["127.0.0.1", 0, "127.0.0.1", 0], ["127.0.0.1", 0],
                ["127.0.0.1", 2],
            ])
            .addresses
        config.exporter.idleTimeout = pick([.seconds(1), .seconds(2)])
        config.exporter.enableLifecycle = pick([true, false])
        config.exporter.tls = tls("exporter", &references)
        config.receiver.tcpSocket = pick([nil, ListenAddress(host: "127.0.0.1", port: 3), ListenAddress(host: "127.0.0.1", port: 1)])
        config.receiver.unixSocket = pick([
            nil, UnixSocketConfig(path: "a.sock"), UnixSocketConfig(path: "b.sock"), UnixSocketConfig(path: "a.sock", mode: 0o600),
        ])
        config.receiver.format = pick([.json, .capnp])
        config.receiver.maxApps = pick([10, 20])
        config.receiver.tls = config.receiver.tcpSocket == nil ? .off : tls("receiver", &references)
        config.poll.targets = targets(&references)
        var files: [String: [UInt8]] = [:]
        for reference in references { files[reference.path] = pick([[], [1], [2]]) }
        return LoadedConfig(config: config, files: files, references: references, origin: ConfigOrigin(file: "config.toml"))
    }

    private mutating func tls(_ table: String, _ references: inout [FileReference]) -> ListenerTLS {
        let config = TLSServerConfig(certFile: pick(["a.pem", "b.pem"]), keyFile: "key.pem", minVersion: pick([.tls12, .tls13]))
        let tls: ListenerTLS = pick([.off, .required(config), .optional(config)])
        if tls != .off {
            references.append(FileReference(key: "\(table).tls_server_config.cert_file", path: config.certFile))
            references.append(FileReference(key: "\(table).tls_server_config.key_file", path: config.keyFile))
        }
        return tls
    }

    private mutating func targets(_ references: inout [FileReference]) -> [Target] {
        var targets: [Target] = []
        var names = ["one", "two", "three", "four"]
        for path in ["/1", "/2", "/3", "/4"] where pick([true, false]) {
            let name = names.remove(at: Int(random.next() % UInt64(names.count)))
            let password = pick([nil, "one.password", "two.password"])
            guard let appName = AppName(pick([name, name, path])) else { continue }
            targets.append(
                Target(
                    url: TargetURL(origin: .http(host: "127.0.0.1", port: 1025), pathAndQuery: path), name: appName,
                    interval: pick([.seconds(5), .seconds(6)]),
                    credentials: password.map { .basic(username: "me", password: .file($0)) }))
            if let password { references.append(FileReference(key: "poll_external.targets[0].basic_auth.password_file", path: password)) }
        }
        return targets
    }

    private mutating func pick<Value>(_ values: [Value]) -> Value { values[Int(random.next() % UInt64(values.count))] }
}

extension [Any] {
    /// Hosts and ports in turn.
    fileprivate var addresses: [ListenAddress] {
        stride(from: 0, to: count, by: 2).compactMap { index in
            guard let host = self[index] as? String, let port = self[index + 1] as? Int else { return nil }
            return ListenAddress(host: host, port: UInt16(port))
        }
    }
}

/// The same numbers in each run.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
