@testable import Proxy

/// Decodes `text`; a file that is not in `files` is empty.
func loadedConfig(_ text: String, files: [String: [UInt8]] = [:]) throws -> LoadedConfig {
    let decoder = ConfigDecoder(file: "config.toml", folder: "") { path in .success(FileReading(bytes: files[path] ?? [])) }
    return try decoder.decode(FileReading(bytes: Array(text.utf8)))
}

/// Small configurations out of few values, so that two of them have much in common and everything differs now and then.
struct RandomConfig {
    private var random: SplitMix

    init(seed: UInt64) { random = SplitMix(state: seed) }

    mutating func loaded() throws -> LoadedConfig {
        var text = "[exporter]\n"
        text += pick(["", "worker_threads = 1\n", "worker_threads = 2\n"])
        let addresses = pick([
            ["127.0.0.1:1"], ["0.0.0.0:1"], ["[::]:1", "0.0.0.0:1"], ["[::]:1"], ["127.0.0.1:0", "127.0.0.1:0"], ["127.0.0.1:0"],
            ["127.0.0.1:2"],
        ])
        text += "scrape_expose_endpoint = [\(addresses.map { "\"\($0)\"" }.joined(separator: ", "))]\n"
        text += "idle_timeout = \(pick([1, 2]))\nenable_lifecycle = \(pick([true, false]))\n"
        text += tls("exporter")
        text += "[receiver]\nformat = \"\(pick(["json", "capnp"]))\"\nmax_apps = \(pick([10, 20]))\n"
        let path = pick(["", "a.sock", "b.sock"])
        if !path.isEmpty {
            text += "receive_on_unix_socket = true\nreceiver_unix_socket = \"\(path)\"\nunix_socket_mode = \"\(pick(["660", "600"]))\"\n"
        }
        let port = pick([0, 3, 4])
        if port > 0 {
            text += "receive_on_tcp_socket = true\nreceiver_tcp_socket = \"127.0.0.1:\(port)\"\n"
            text += tls("receiver")
        }
        text += pick(["", "[metrics]\nvalidate = \"off\"\n", "[metrics]\nvalidate = \"refuse\"\n"])
        text += "[poll_external]\npoll_other_scrape_endpoints = true\nmax_inflight_size = \(pick([1000, 2000]))\n"
        text += targets()
        var files: [String: [UInt8]] = [:]
        for path in ["a.pem", "b.pem", "key.pem", "one.password", "two.password"] { files[path] = pick([[], [1], [2]]) }
        return try loadedConfig(text, files: files)
    }

    private mutating func tls(_ table: String) -> String {
        let mode = pick(["off", "required", "optional"])
        guard mode != "off" else { return "" }
        return """
            tls = "\(mode)"
            [\(table).tls_server_config]
            cert_file = "\(pick(["a.pem", "b.pem"]))"
            key_file = "key.pem"
            min_version = "\(pick(["TLS12", "TLS13"]))"

            """
    }

    private mutating func targets() -> String {
        var text = ""
        var names = ["one", "two", "three", "four"]
        for path in ["/1", "/2", "/3", "/4"] where pick([true, false]) {
            let name = names.remove(at: Int(random.next() % UInt64(names.count)))
            text += "[[poll_external.targets]]\nurl = \"http://127.0.0.1:1025\(path)\"\nname = \"\(pick([name, name, path]))\"\n"
            text += "poll_interval = \(pick([5, 6]))\n"
            let password = pick(["", "one.password", "two.password"])
            if !password.isEmpty { text += "basic_auth = { username = \"me\", password_file = \"\(password)\" }\n" }
        }
        return text
    }

    private mutating func pick<Value>(_ values: [Value]) -> Value { values[Int(random.next() % UInt64(values.count))] }
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
